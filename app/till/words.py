"""The words of a table of purchases, those of the service's own import: how columns are headed and how values are written.

Written out here because a till knows nothing of the service; a test compares the two.
"""

from collections.abc import Mapping

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "client_reference": ("小票号", "流水号", "登记编号", "销售单号"),
    "pharmacy_id": ("药店编号", "门店编号"),
    "purchased_at": ("购药时间", "购买时间", "销售时间"),
    "name": ("姓名", "购药人姓名", "购药人", "顾客姓名"),
    "document_type": ("证件类型", "购药人证件类型"),
    "document_number": ("证件号码", "身份证号", "身份证号码", "证件号", "购药人证件号码"),
    "document_missing_reason": ("无证件原因",),
    "phone": ("电话", "手机", "手机号", "手机号码", "联系电话", "购药人电话"),
    "address_division": ("住址区划代码", "区划代码"),
    "address": ("住址", "地址", "现住址", "居住地址", "购药人住址"),
    "temperature_c": ("体温", "购药人体温"),
    "patient_name": ("用药人姓名", "用药人"),
    "patient_document_type": ("用药人证件类型",),
    "patient_document_number": ("用药人证件号码", "用药人身份证号"),
    "patient_document_missing_reason": ("用药人无证件原因",),
    "patient_phone": ("用药人电话",),
    "patient_address_division": ("用药人住址区划代码",),
    "patient_address": ("用药人住址",),
    "patient_temperature_c": ("用药人体温",),
    "symptoms": ("症状",),
    "mask": ("口罩", "佩戴口罩"),
    "code": ("健康码", "健康码颜色"),
    "venue_scan": ("进店扫码", "场所码"),
    "answer:stay_in_affected_area_14d": ("14天内疫区旅居史", "旅居史"),
    "answer:contact_with_case_14d": ("14天内病例接触史", "接触史"),
    "note": ("备注", "序号", "no"),
}
"""Columns and the further headers by which they may go. `note` is read by nobody."""

ITEM_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "name": ("药品名称", "商品名称", "通用名称", "品名", "药品"),
    "quantity": ("数量", "购买数量"),
    "gtin": ("条形码", "商品条码", "条码"),
    "approval_number": ("批准文号", "国药准字"),
    "trace_codes": ("追溯码", "药品追溯码"),
    "batch": ("批号", "产品批号"),
}
"""Columns of an item: `item_name` or `item1_name`, `item2_name`, …, 药品名称 or 药品名称1, 药品名称2, …"""
MOST_ITEMS = 10

DOCUMENT_TYPES: Mapping[str, str] = {
    "身份证": "resident_id",
    "居民身份证": "resident_id",
    "护照": "passport",
    "港澳居民来往内地通行证": "hk_macau_permit",
    "港澳通行证": "hk_macau_permit",
    "回乡证": "hk_macau_permit",
    "台湾居民来往大陆通行证": "taiwan_permit",
    "台胞证": "taiwan_permit",
    "外国人永久居留身份证": "foreigner_permanent_residence",
    "医保卡": "medical_insurance_card",
}

SYMPTOMS: Mapping[str, str] = {
    "发热": "fever",
    "发烧": "fever",
    "寒战": "chills",
    "畏寒": "chills",
    "咳嗽": "cough",
    "咽痛": "sore_throat",
    "咽喉痛": "sore_throat",
    "喉咙痛": "sore_throat",
    "流涕": "runny_nose",
    "流鼻涕": "runny_nose",
    "鼻塞": "blocked_nose",
    "头痛": "headache",
    "肌肉酸痛": "muscle_ache",
    "肌痛": "muscle_ache",
    "关节痛": "joint_pain",
    "乏力": "fatigue",
    "气促": "shortness_of_breath",
    "呼吸困难": "shortness_of_breath",
    "嗅觉味觉减退": "loss_of_smell_or_taste",
    "恶心": "nausea",
    "呕吐": "vomiting",
    "腹泻": "diarrhoea",
    "皮疹": "rash",
    "结膜炎": "red_eyes",
    "眼红": "red_eyes",
    "其他": "other",
}
NO_SYMPTOM = frozenset(["-", "no", "none", "无", "没有"])

HEALTH_CODES: Mapping[str, str] = {
    "绿": "green",
    "绿码": "green",
    "黄": "yellow",
    "黄码": "yellow",
    "红": "red",
    "红码": "red",
}

YES = frozenset(["1", "true", "y", "yes", "√", "✓", "已", "是", "有"])
NO = frozenset(["0", "false", "n", "no", "×", "否", "无", "未", "没有"])
