"""A few divisions, loaded by the same verb that loads all of them."""

from app.auth.rules import SYSTEM
from app.core.database import Database
from app.divisions.service import import_divisions
from tests.conftest import MOMENT

FUTIAN = "440304"
SHATOU = "440304005"
"""A street of Futian."""
LUOHU = "440303"

LINES = (
    "code,name",
    "44,广东省",
    "4403,深圳市",
    f"{LUOHU},罗湖区",
    f"{FUTIAN},福田区",
    f"{SHATOU},沙头街道",
    "440304006,香蜜湖街道",
    "4401,广州市",
    "440106,天河区",
)


async def load_divisions(database: Database) -> None:
    """Load Guangdong, Shenzhen with Luohu and Futian (two streets), and Guangzhou with Tianhe."""
    async with database.transaction() as session:
        await import_divisions(session, LINES, actor=SYSTEM, now=MOMENT)
