"""How items are made, and when there is time for it: structure, routings, work centres, shifts, stops, calendar."""

from ingestion.targets.fields import (
    ACTIVE,
    DAY,
    HOURS,
    MONEY,
    NAME,
    OPEN_QUANTITY,
    SOME_DAY,
    TIME_OF_DAY,
    VALID_FROM,
    VALID_TO,
    Field,
    Kind,
    Target,
    choice,
    code,
)

STOP_RECURRENCES = ("once", "daily", "weekly", "monthly", "yearly")
CAPACITY_EVENT_KINDS = ("breakdown", "maintenance", "absence", "overtime", "extra_shift", "other")

BOM_LINES = Target(
    "bom_lines",
    {
        "parent": code("items", example="A-100"),
        "component": code("items", example="B-110"),
        "version": code(default="1", example="1").told("Version of the parent's bill of material"),
        "quantity_per": OPEN_QUANTITY.told("Of the component in one parent", 2.0).in_unit_of("component"),
        "scrap_share": Field(
            Kind.NUMBER, required=True, default=0.0, at_least=0, below=1, about="Share lost on the way", example=0.02
        ),
        "valid_from": VALID_FROM,
        "valid_to": VALID_TO,
    },
    key=("parent", "component", "version"),
    must_differ=(("parent", "component"),),
    in_order=(("valid_from", "valid_to"),),
    about="Lines of bills of material",
)
WORK_CENTRES = Target(
    "work_centres",
    {
        "code": code(example="W-1"),
        "name": NAME.told("Name people know it by", "Lathes"),
        "hours_per_day": Field(
            Kind.NUMBER,
            required=True,
            above=0,
            at_most=10_000,
            about="Hours a working day, without shifts",
            example=16.0,
        ),
        "efficiency": Field(
            Kind.NUMBER, required=True, default=1.0, above=0, at_most=5, about="1 is 100 %", example=0.9
        ),
        "machines": Field(Kind.WHOLE, required=True, default=1, at_least=1, at_most=10_000, about="Side by side"),
        "cost_per_hour": MONEY.told("Money an hour", 48.0),
        "active": ACTIVE,
    },
    key=("code",),
    about="Machine groups and lines",
)
ROUTINGS = Target(
    "routings",
    {
        "item": code("items", example="A-100"),
        "sequence": Field(
            Kind.WHOLE, required=True, at_least=0, at_most=1_000_000_000, about="Place in the routing", example=10
        ),
        "work_centre": code("work_centres", example="W-1"),
        "name": Field(Kind.TEXT, about="What is done", example="Turning"),
        "setup_hours": Field(Kind.NUMBER, required=True, default=0.0, at_least=0, about="Hours an order", example=0.5),
        "unit_hours": HOURS.told("Hours a unit", 0.02).per_unit_of("item"),
    },
    key=("item", "sequence"),
    about="Operations of making an item: hours = set-up + quantity x unit hours / efficiency",
)
SHIFTS = Target(
    "shifts",
    {
        "work_centre": code("work_centres", example="W-1"),
        "weekday": Field(Kind.WHOLE, required=True, at_least=1, at_most=7, about="1 is Monday", example=1),
        "starts_at": TIME_OF_DAY,
        "ends_at": TIME_OF_DAY.told("Time of day, HH:MM; before the start: on the next day", "14:00"),
        "break_minutes": Field(
            Kind.WHOLE, required=True, default=0, at_least=0, at_most=720, about="Unpaid breaks", example=30
        ),
        "name": Field(Kind.TEXT, about="What it is called", example="Early"),
        "valid_from": VALID_FROM,
        "valid_to": VALID_TO,
    },
    key=("work_centre", "weekday", "starts_at"),
    in_order=(("valid_from", "valid_to"),),
    about="Shifts of a work centre by weekday",
)
PLANNED_STOPS = Target(
    "planned_stops",
    {
        "work_centre": code("work_centres", example="W-1"),
        "name": NAME.told("What for", "Weekly cleaning"),
        "starts_on": DAY.told("First day"),
        "recurrence": choice(*STOP_RECURRENCES, default="once").told("How often it comes again"),
        "until": SOME_DAY.told("Last day it may come; empty: for good", "2027-12-31"),
        "hours": Field(Kind.NUMBER, required=True, above=0, at_most=10_000, about="Hours lost each time", example=2.0),
    },
    key=("work_centre", "name", "starts_on"),
    in_order=(("starts_on", "until"),),
    about="Planned stops of a work centre, once or again and again",
)
CAPACITY_EVENTS = Target(
    "capacity_events",
    {
        "work_centre": code("work_centres", example="W-1"),
        "kind": choice(*CAPACITY_EVENT_KINDS).told("What happens"),
        "starts_on": DAY.told("First day"),
        "ends_on": DAY.told("Last day", "2026-12-04"),
        "hours_per_day": Field(
            Kind.NUMBER,
            required=True,
            at_least=-10_000,
            at_most=10_000,
            about="Hours a working day gained, or lost when below 0",
            example=-8.0,
        ),
        "note": Field(Kind.TEXT, about="Free text", example="Spindle being replaced"),
    },
    key=("work_centre", "starts_on", "kind"),
    in_order=(("starts_on", "ends_on"),),
    about="Hours a work centre gains or loses for some days",
)
CALENDAR_DAYS = Target(
    "calendar_days",
    {
        "day": DAY.told("The day", "2026-12-25"),
        "working": Field(
            Kind.BOOLEAN, required=True, default=False, about="Whether the plant works that day", example=False
        ),
        "name": Field(Kind.TEXT, about="Why", example="Christmas Day"),
    },
    key=("day",),
    about="Days on which the factory calendar differs from the working week",
)
