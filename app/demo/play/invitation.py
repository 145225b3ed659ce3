"""What is said when the play is over and the doors stay open: where to look, and with which token."""

from rich.markup import escape

from app.demo.city import STREETS
from app.demo.papers import check_character
from app.demo.play.opening import Company

_PURCHASE = (
    '{"client_reference": "DEMO-1", "purchased_at": "\'$(date -u +%Y-%m-%dT%H:%M:%SZ)\'", "temperature_c": 38.2,\n'
    '         "buyer": {"name": "王甲子", "document": {"type": "resident_id", "number": "RESIDENT"},\n'
    '                   "phone": "15400000000", "address": {"division": "STREET", "line": "演示花园 1 栋"}},\n'
    '         "items": [{"name": "布洛芬缓释胶囊", "quantity": 1}]}'
)
_FIRST_17 = "44030419900101000"


def invitation(url: str, company: Company) -> str:
    """Return the text, in rich's markup."""
    tokens = {"pharmacy": company.tills[0], **company.tokens}
    width = max(map(len, tokens))
    lines = [
        "",
        "[bold cyan]仍在运行 Still serving[/]  Ctrl-C ends it.",
        "",
        f"  docs     {url}/docs",
        f"  health   {url}/readyz",
        f"  metrics  {url}/metrics",
        f"  events   {url}/v1/events?after=0  (with a token)",
        "",
        "[bold cyan]令牌 Tokens[/]  for this demo alone; official and second_official are two people.",
        "",
        *(f"  {part:<{width}}  {token}" for part, token in tokens.items()),
        "",
        "[bold cyan]试试看 Try[/]",
        "",
        f"  curl -s '{url}/v1/matches?limit=2' -H 'Authorization: Bearer {company.tokens['epidemiologist']}'",
        "",
        f"  curl -s '{url}/v1/rewards/report?group_by=division' -H 'Accept: text/csv' \\",
        f"       -H 'Authorization: Bearer {company.tokens['official']}'",
        "",
        f"  curl -s {url}/v1/registrations -H 'Authorization: Bearer {company.tills[0]}' \\",
        "       -H 'Content-Type: application/json' -d '" + _purchase() + "'",
        "",
    ]
    return "\n".join(lines)


def _purchase() -> str:
    """Return the body of a registration by a synthetic buyer with a fever, bought this moment."""
    number = _FIRST_17 + check_character(_FIRST_17)
    return escape(_PURCHASE.replace("RESIDENT", number).replace("STREET", STREETS[0].code))
