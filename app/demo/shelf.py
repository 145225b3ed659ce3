"""What stands on the shelves: products on Guangdong's list, products that are not, and how a till names them.

Listed names follow the list of 37 of 2021-05-29, with a brand before many of them as tills have it. The codes are synthetic,
so that a product is known by its name alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from random import Random

from app.demo.script import Json


@dataclass(frozen=True, slots=True)
class Product:
    """A product; one without a name is sent with its bar code alone."""

    name: str
    listed: bool


LISTED = tuple(
    Product(name, True)
    for name in (
        *(
            "芬必得 布洛芬缓释胶囊",
            "布洛芬混悬液",
            "布洛芬缓释胶囊",
            "以岭 连花清瘟胶囊",
            "连花清瘟颗粒",
            "小柴胡颗粒",
            "小柴胡片",
        ),
        *("999 感冒灵颗粒", "复方感冒灵颗粒", "感冒灵胶囊", "感冒清热颗粒", "风寒感冒颗粒", "四季感冒片", "维C银翘片"),
        *(
            "白云山 板蓝根颗粒",
            "复方板蓝根颗粒",
            "香雪 抗病毒口服液",
            "抗病毒口服液",
            "双黄连口服液",
            "清开灵颗粒",
            "蓝芩口服液",
        ),
        *(
            "金花清感胶囊",
            "疏风解毒胶囊",
            "痰热清胶囊",
            "羚羊清肺颗粒",
            "复方银翘氨敏胶囊",
            "阿咖酚散",
            "磷酸奥司他韦胶囊",
        ),
    )
)
UNLISTED = tuple(
    Product(name, False)
    for name in (
        *(
            "碘伏消毒液",
            "创可贴",
            "云南白药气雾剂",
            "碳酸钙D3片",
            "医用外科口罩",
            "藿香正气水",
            "玻璃酸钠滴眼液",
            "维生素C片",
        ),
        *("双黄连注射液", "开塞露", "医用酒精", "电子体温计"),
    )
)
NAMELESS = Product("", False)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a receipt."""

    product: Product
    quantity: int


Basket = tuple[Line, ...]


def fill_basket(rng: Random) -> Basket:
    """Return one or two listed products, now and then with something that needs no registration beside them."""
    products = rng.sample(LISTED, rng.choices((1, 2), (78, 22))[0])
    if rng.random() < 0.25:
        products.append(rng.choice(UNLISTED) if rng.random() < 0.8 else NAMELESS)
    rng.shuffle(products)
    return tuple(Line(product, rng.choices((1, 2, 3), (75, 20, 5))[0]) for product in products)


def fill_unlisted_basket(rng: Random) -> Basket:
    """Return one or two products, none of which is on the list."""
    return tuple(Line(product, 1) for product in rng.sample(UNLISTED, rng.choice((1, 2))))


def has_listed(basket: Basket) -> bool:
    """Tell whether any line of it is on the list."""
    return any(line.product.listed for line in basket)


class Scanner:
    """Writes lines as tills do: a name, a bar code, an approval number, a batch, a trace code per box."""

    def __init__(self, rng: Random) -> None:
        """Draw from `rng`; trace codes are counted up, for every box has its own."""
        self._rng = rng
        self._boxes: Iterator[int] = count(1)

    def items(self, basket: Basket) -> list[Json]:
        """Return the `items` of a registration."""
        return [self._item(line) for line in basket]

    def _item(self, line: Line) -> Json:
        item: Json = {"name": line.product.name} if line.product.name else {}
        if not item or self._rng.random() < 0.5:
            item["gtin"] = gtin(f"699{self._rng.randrange(10**9):09d}")
        if line.product.name and self._rng.random() < 0.12:
            item["approval_number"] = f"国药准字{self._rng.choice('HZ')}9900{self._rng.randrange(10**4):04d}"
        item["quantity"] = line.quantity
        if self._rng.random() < 0.4:
            item["batch"] = f"{self._rng.choice('ABC')}{self._rng.randrange(1000, 9999)}"
        if line.product.listed and self._rng.random() < 0.1:
            item["trace_codes"] = [f"8999999{next(self._boxes):013d}" for _ in range(line.quantity)]
        return item


def gtin(first_12: str) -> str:
    """Return an EAN-13: twelve digits and the check digit that GS1 prescribes."""
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(first_12))
    return first_12 + str(-total % 10)
