"""The words of a case list: how columns are headed and how values are written, in Chinese and English."""

from collections.abc import Mapping

from app.cases.rules import Classification

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "authority": ("报告单位", "报告单位编码", "报告机构"),
    "case_number": ("病例编号", "卡片编号", "病例号"),
    "disease": ("病种", "疾病名称", "疾病"),
    "classification": ("病例分类", "分类", "诊断分类"),
    "division": ("行政区划", "区划代码", "行政区划代码"),
    "name": ("姓名", "患者姓名", "病例姓名"),
    "document_type": ("证件类型", "有效证件类型"),
    "document_number": ("证件号码", "有效证件号", "身份证号", "身份证号码", "证件号"),
    "document_missing_reason": ("无证件原因",),
    "phone": ("电话", "联系电话", "手机", "手机号", "手机号码"),
    "birth_date": ("出生日期", "生日"),
    "address_division": ("住址区划代码",),
    "address": ("住址", "现住址", "现住详细地址", "地址"),
    "onset_on": ("发病日期", "发病时间"),
    "confirmed_at": ("确诊时间", "确诊日期"),
    "note": ("备注", "序号", "no", "性别", "年龄", "职业", "人群分类", "工作单位", "患者工作单位"),
}
"""Columns and the further headers by which they may go, the template's own first.

What stands under `note` is usual on such lists, is not needed here, and is therefore read by nobody.
"""

CLASSIFICATIONS: Mapping[str, str] = {
    "疑似": Classification.SUSPECTED,
    "疑似病例": Classification.SUSPECTED,
    "临床诊断": Classification.PROBABLE,
    "临床诊断病例": Classification.PROBABLE,
    "确诊": Classification.CONFIRMED,
    "确诊病例": Classification.CONFIRMED,
    "实验室确诊病例": Classification.CONFIRMED,
    "排除": Classification.DISCARDED,
    "排除病例": Classification.DISCARDED,
    **{kind.value: kind for kind in Classification},
}

DISEASES: Mapping[str, str] = {
    "新冠": "covid-19",
    "新冠肺炎": "covid-19",
    "新型冠状病毒肺炎": "covid-19",
    "新型冠状病毒感染": "covid-19",
    "登革热": "dengue",
    "基孔肯雅热": "chikungunya",
    "流感": "influenza",
    "流行性感冒": "influenza",
}
"""Names for which a code stands; any other code is taken as it is written."""
