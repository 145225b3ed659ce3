"""The words of a table of purchases: how columns are headed and how values are written, in Chinese and English."""

from collections.abc import Mapping

from app.people.documents import DocumentType
from app.registrations.schemas import HealthCode, Symptom

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "client_reference": ("小票号", "流水号", "登记编号", "销售单号"),
    "pharmacy_id": ("药店编号", "门店编号"),
    "licence_number": ("许可证号", "许可证编号", "药品经营许可证号"),
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
"""Columns and the further headers by which they may go, the template's own first. `note` is read by nobody."""

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
    "身份证": DocumentType.RESIDENT_ID,
    "居民身份证": DocumentType.RESIDENT_ID,
    "护照": DocumentType.PASSPORT,
    "港澳居民来往内地通行证": DocumentType.HK_MACAU_PERMIT,
    "港澳通行证": DocumentType.HK_MACAU_PERMIT,
    "回乡证": DocumentType.HK_MACAU_PERMIT,
    "台湾居民来往大陆通行证": DocumentType.TAIWAN_PERMIT,
    "台胞证": DocumentType.TAIWAN_PERMIT,
    "外国人永久居留身份证": DocumentType.FOREIGNER_PERMANENT_RESIDENCE,
    "医保卡": DocumentType.MEDICAL_INSURANCE_CARD,
    **{kind.value: kind for kind in DocumentType},
}

SYMPTOMS: Mapping[str, str] = {
    "发热": Symptom.FEVER,
    "发烧": Symptom.FEVER,
    "寒战": Symptom.CHILLS,
    "畏寒": Symptom.CHILLS,
    "咳嗽": Symptom.COUGH,
    "咽痛": Symptom.SORE_THROAT,
    "咽喉痛": Symptom.SORE_THROAT,
    "喉咙痛": Symptom.SORE_THROAT,
    "流涕": Symptom.RUNNY_NOSE,
    "流鼻涕": Symptom.RUNNY_NOSE,
    "鼻塞": Symptom.BLOCKED_NOSE,
    "头痛": Symptom.HEADACHE,
    "肌肉酸痛": Symptom.MUSCLE_ACHE,
    "肌痛": Symptom.MUSCLE_ACHE,
    "关节痛": Symptom.JOINT_PAIN,
    "乏力": Symptom.FATIGUE,
    "气促": Symptom.SHORTNESS_OF_BREATH,
    "呼吸困难": Symptom.SHORTNESS_OF_BREATH,
    "嗅觉味觉减退": Symptom.LOSS_OF_SMELL_OR_TASTE,
    "恶心": Symptom.NAUSEA,
    "呕吐": Symptom.VOMITING,
    "腹泻": Symptom.DIARRHOEA,
    "皮疹": Symptom.RASH,
    "结膜炎": Symptom.RED_EYES,
    "眼红": Symptom.RED_EYES,
    "其他": Symptom.OTHER,
    **{symptom.value: symptom for symptom in Symptom},
}
NO_SYMPTOM = frozenset({"无", "没有", "none", "no", "-"})

HEALTH_CODES: Mapping[str, str] = {
    "绿": HealthCode.GREEN,
    "绿码": HealthCode.GREEN,
    "黄": HealthCode.YELLOW,
    "黄码": HealthCode.YELLOW,
    "红": HealthCode.RED,
    "红码": HealthCode.RED,
    **{code.value: code for code in HealthCode},
}

YES = frozenset({"是", "有", "已", "yes", "y", "true", "1", "√", "✓"})
NO = frozenset({"否", "无", "没有", "未", "no", "n", "false", "0", "×"})
