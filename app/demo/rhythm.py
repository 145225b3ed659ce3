"""The rhythm of a till: when in the week and in the day fever, cough and cold medicine is bought.

The two tables are rounded shares over some 50,000 till hours of one pharmacy from 2014 to 2019 (paracetamol, ibuprofen and
antihistamines in the public "Pharma sales data"): a small rise at noon, the peak after work at seven and eight in the evening, and
weekends a fifth above weekdays. Only these aggregates are used.
"""

from datetime import datetime
from random import Random

from app.demo.script import Calendar

HOURS = dict(zip(range(8, 22), (43, 57, 66, 78, 80, 71, 67, 66, 66, 68, 82, 95, 97, 58), strict=True))
"""Sales per hour of the day, in thousandths; shops open at 8 and close at 22."""

WEEKDAYS = (98, 95, 94, 94, 96, 112, 112)
"""Sales per day from Monday to Sunday, in hundredths of the mean day."""


def moment(rng: Random, calendar: Calendar, day: int) -> datetime:
    """Return an instant of a day as the rhythm has it."""
    hour = rng.choices(tuple(HOURS), tuple(HOURS.values()))[0]
    return calendar.at(day, hour, rng.randrange(60), rng.randrange(60))


def weights_of_days(calendar: Calendar, days: range) -> list[int]:
    """Return the weight of each day, by its day of the week."""
    return [WEEKDAYS[calendar.on(day).weekday()] for day in days]
