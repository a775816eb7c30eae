"""What the demo factory makes and buys: garden and workshop equipment, as kinds of parts and how they fit together."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stem:
    """A group of like items in several sizes.

    `cost` is the range of purchase prices over the sizes; `per` how much of it goes into one parent, in `unit`;
    `uses` the stems it is made of, none for a purchased one; `route` pairs of work centre and minutes a piece;
    `lead` the range of lead times in working days.
    """

    key: str
    noun: str
    sizes: tuple[str, ...]
    category: str
    unit: str = "pcs"
    cost: tuple[float, float] = (0.0, 0.0)
    per: tuple[float, float] = (1, 1)
    uses: tuple[str, ...] = ()
    route: tuple[tuple[str, float], ...] = ()
    lead: tuple[int, int] = (3, 6)


@dataclass(frozen=True, slots=True)
class Family:
    """A product family: model names, what one product is made of, and how its market moves.

    `season` is the strength k of exp(k cos(days from peak)), `peak` the day of the year; `growth` a year's trend.
    """

    noun: str
    category: str
    series: tuple[str, ...]
    sizes: tuple[str, ...]
    uses: tuple[str, ...]
    season: float
    peak: int
    growth: float


def _sizes(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|"))


FAMILIES: tuple[Family, ...] = (
    Family("Submersible pump", "Submersible pumps", ("Tide", "Tide Inox"), _sizes("250|400|550|750|900|1100|1500|2200"),
           ("drive_unit", "pump_head", "control_box", "cable", "hex_screw", "carton", "manual", "rating_label"),
           0.15, 170, 0.04),
    Family("Garden pump", "Garden pumps", ("Brook", "Brook Eco"), _sizes("3000|3500|4000|4500|5000|5500|6000|7000"),
           ("drive_unit", "pump_head", "frame", "hose", "carton", "insert", "manual", "rating_label"),
           0.60, 150, 0.06),
    Family("Pressure sprayer", "Sprayers", ("Mist", "Mist Pro"), _sizes("3 l|5 l|8 l|10 l|12 l|15 l|18 l|20 l"),
           ("tank", "lance", "gauge", "o_ring", "display_box", "manual", "rating_label"),
           0.70, 125, 0.02),
    Family("Hose reel", "Watering", ("Coil", "Coil Auto"), _sizes("15 m|20 m|25 m|30 m|35 m|40 m|50 m|60 m"),
           ("hose_drum", "wheel_set", "hose", "carton", "strap", "manual"),
           0.55, 165, 0.05),
    Family("Leaf blower", "Leaf and shredding", ("Gust", "Gust Vac"), _sizes("18 V|36 V|1600|2000|2400|2600|2800|3000"),
           ("fan_unit", "control_box", "filter_unit", "carton", "insert", "manual", "rating_label"),
           0.75, 295, 0.03),
    Family("Lawn aerator", "Lawn care", ("Turf", "Turf Duo"), _sizes("30|32|34|36|38|40|42|46"),
           ("drive_unit", "frame", "wheel_set", "control_box", "carton", "corner", "manual"),
           0.65, 105, 0.01),
    Family("Salt spreader", "Winter service", ("Frost", "Frost Pro"), _sizes("20 l|25 l|30 l|35 l|40 l|50 l|60 l|80 l"),
           ("tank", "frame", "wheel_set", "hex_screw", "carton", "corner", "manual"),
           1.05, 345, 0.00),
    Family("Workshop vacuum", "Workshop vacuums", ("Clear", "Clear Wet"), _sizes("15|20|25|30|35|40|50|70"),
           ("fan_unit", "tank", "filter_unit", "wheel_set", "hose", "carton", "manual", "rating_label"),
           0.15, 20, 0.08),
    Family("Compressor", "Compressors", ("Atlas Air", "Atlas Quiet"), _sizes("6 l|10 l|20 l|24 l|50 l|90 l|100 l|200 l"),
           ("drive_unit", "tank", "gauge", "wheel_set", "control_box", "carton", "pallet", "manual"),
           0.20, 320, 0.03),
    Family("Dewatering set", "Dewatering", ("Delta", "Delta Site"), _sizes("DN 25|DN 32|DN 40|DN 50|DN 65|DN 80|DN 100|DN 125"),
           ("drive_unit", "pump_head", "frame", "lance", "hex_screw", "carton", "pallet", "manual"),
           0.25, 40, -0.02),
)  # fmt: skip

SEMI_FINISHED: tuple[Stem, ...] = (
    Stem("drive_unit", "Drive unit", _sizes("250 W|400 W|550 W|750 W|900 W|1100 W|1500 W|1800 W|2200 W"), "Drives",
         uses=("motor", "bearing", "shaft", "shell", "hex_screw", "grease"), route=(("WC-ASSY", 7.0),), lead=(3, 5)),
    Stem("pump_head", "Pump head", _sizes("20 l/min|30 l/min|40 l/min|50 l/min|60 l/min|80 l/min|100 l/min|150 l/min|200 l/min"), "Hydraulics",
         uses=("impeller", "shell", "lip_seal", "o_ring", "hex_screw", "adhesive"), route=(("WC-ASSY", 6.0),), lead=(3, 5)),
    Stem("hose_drum", "Hose drum", _sizes("15 m|20 m|25 m|30 m|35 m|40 m|50 m|60 m|80 m"), "Watering parts",
         uses=("flange", "axle", "hex_screw", "nut"), route=(("WC-ASSY", 4.0),), lead=(3, 5)),
    Stem("tank", "Tank", _sizes("3 l|5 l|8 l|10 l|15 l|20 l|30 l|50 l|100 l"), "Tanks",
         uses=("tank_shell", "bracket", "valve", "gasket", "primer"), route=(("WC-WELD", 8.0), ("WC-COAT", 2.5)), lead=(4, 7)),
    Stem("frame", "Welded frame", _sizes("F10|F20|F30|F40|F50|F60|F70|F80|F90"), "Frames",
         uses=("bracket", "handle", "steel_tube", "powder", "hex_screw"), route=(("WC-WELD", 7.0), ("WC-COAT", 3.0)), lead=(4, 7)),
    Stem("control_box", "Control box", _sizes("C1|C1 float|C2|C2 float|C3|C3 timer|C4|C4 timer|C5"), "Controls",
         uses=("panel", "float_switch", "cable", "terminal", "pan_screw"), route=(("WC-ASSY", 5.0),), lead=(3, 5)),
    Stem("wheel_set", "Wheel set", _sizes("100 mm|125 mm|150 mm|160 mm|180 mm|200 mm|220 mm|250 mm|300 mm"), "Running gear",
         uses=("axle", "wheel", "washer"), route=(("WC-ASSY", 2.0),), lead=(2, 4)),
    Stem("lance", "Lance assembly", _sizes("300 mm|400 mm|500 mm|600 mm|700 mm|800 mm|900 mm|1000 mm|1200 mm"), "Watering parts",
         uses=("valve", "hose", "spring", "o_ring"), route=(("WC-ASSY", 3.0),), lead=(2, 4)),
    Stem("filter_unit", "Filter unit", _sizes("A10|A20|A30|B10|B20|B30|C10|C20|C30"), "Filters",
         uses=("shell", "foam", "gasket", "pan_screw"), route=(("WC-ASSY", 3.0),), lead=(2, 4)),
    Stem("fan_unit", "Fan unit", _sizes("600 W|800 W|1000 W|1200 W|1400 W|1600 W|2000 W|2400 W|2800 W"), "Drives",
         uses=("fan_wheel", "motor", "bearing", "panel", "rivet", "wire"), route=(("WC-ASSY", 6.5),), lead=(3, 5)),
)  # fmt: skip

COMPONENTS: tuple[Stem, ...] = (
    Stem("impeller", "Impeller", _sizes("80 mm|95 mm|110 mm|125 mm|140 mm"), "Moulded parts",
         uses=("pa6", "stainless_bar"), route=(("WC-MOULD", 0.8), ("WC-MACH", 1.2)), lead=(5, 8)),
    Stem("shell", "Housing shell", _sizes("H1|H2|H3|H4|H5"), "Machined parts",
         uses=("alu_casting", "powder"), route=(("WC-MACH", 3.0), ("WC-COAT", 1.0)), lead=(5, 8)),
    Stem("shaft", "Motor shaft", _sizes("12x140|16x160|20x180|25x220|30x260"), "Machined parts",
         uses=("round_bar",), route=(("WC-CUT", 0.5), ("WC-MACH", 2.5)), lead=(4, 7)),
    Stem("bracket", "Bracket", _sizes("B1|B2|B3|B4|B5"), "Sheet parts", per=(1, 2),
         uses=("steel_sheet", "alu_sheet", "primer"), route=(("WC-CUT", 0.7), ("WC-FORM", 0.8)), lead=(4, 6)),
    Stem("panel", "Cover panel", _sizes("P1|P2|P3|P4|P5"), "Sheet parts",
         uses=("steel_sheet", "powder", "abs"), route=(("WC-CUT", 0.9), ("WC-FORM", 1.0), ("WC-COAT", 0.8)), lead=(4, 7)),
    Stem("tank_shell", "Tank shell", _sizes("5 l|10 l|20 l|50 l|100 l"), "Sheet parts",
         uses=("stainless_sheet",), route=(("WC-CUT", 1.2), ("WC-FORM", 2.0), ("WC-WELD", 2.0)), lead=(5, 8)),
    Stem("flange", "Drum flange", _sizes("300 mm|350 mm|400 mm|450 mm|500 mm"), "Moulded parts", per=(2, 2),
         uses=("pp",), route=(("WC-MOULD", 1.0),), lead=(4, 6)),
    Stem("fan_wheel", "Fan wheel", _sizes("120 mm|140 mm|160 mm|180 mm|200 mm"), "Moulded parts",
         uses=("pp", "iron_casting"), route=(("WC-MOULD", 1.1), ("WC-MACH", 0.8)), lead=(5, 7)),
    Stem("handle", "Handle bar", _sizes("600 mm|700 mm|800 mm|900 mm|1000 mm"), "Tube parts",
         uses=("steel_tube", "tpe"), route=(("WC-CUT", 0.6), ("WC-FORM", 1.5)), lead=(4, 6)),
    Stem("axle", "Axle", _sizes("250 mm|300 mm|400 mm|500 mm|600 mm"), "Machined parts",
         uses=("round_bar", "washer"), route=(("WC-CUT", 0.4), ("WC-MACH", 1.5)), lead=(4, 6)),
    Stem("motor", "Electric motor", _sizes("250 W|550 W|1100 W|1500 W|2200 W"), "Electrical", cost=(14, 62), lead=(25, 40)),
    Stem("bearing", "Ball bearing", _sizes("6000 2RS|6001 2RS|6202 2RS|6203 2RS|6304 2RS"), "Bearings", cost=(0.9, 3.2),
         per=(2, 2), lead=(15, 25)),
    Stem("float_switch", "Float switch", _sizes("0.5 m|1 m|3 m|5 m|10 m"), "Electrical", cost=(2.4, 6.5), lead=(20, 35)),
    Stem("valve", "Ball valve", _sizes("G 1/4|G 3/8|G 1/2|G 3/4|G 1"), "Fittings", cost=(1.8, 7.5), lead=(12, 20)),
    Stem("gauge", "Pressure gauge", _sizes("0-4 bar|0-6 bar|0-10 bar|0-16 bar|0-25 bar"), "Fittings", cost=(2.1, 5.4),
         lead=(12, 20)),
    Stem("wheel", "Rubber wheel", _sizes("100 mm|150 mm|200 mm|250 mm|300 mm"), "Running gear", cost=(1.6, 6.8),
         per=(2, 2), lead=(12, 20)),
)  # fmt: skip

RAW_MATERIALS: tuple[Stem, ...] = (
    Stem("steel_sheet", "Steel sheet DC01", _sizes("0.8 mm|1.0 mm|1.5 mm|2.0 mm|3.0 mm"), "Metals", "kg", (1.05, 1.4), (0.3, 1.8), lead=(8, 14)),
    Stem("stainless_sheet", "Stainless sheet 1.4301", _sizes("0.8 mm|1.0 mm|1.2 mm|1.5 mm|2.0 mm"), "Metals", "kg", (3.2, 4.1), (0.8, 4.5), lead=(10, 18)),
    Stem("alu_sheet", "Aluminium sheet 5754", _sizes("1.0 mm|1.5 mm|2.0 mm|2.5 mm|3.0 mm"), "Metals", "kg", (3.6, 4.6), (0.1, 0.4), lead=(10, 18)),
    Stem("round_bar", "Round bar C45", _sizes("12 mm|16 mm|20 mm|25 mm|30 mm"), "Metals", "kg", (1.3, 1.7), (0.2, 1.1), lead=(8, 14)),
    Stem("stainless_bar", "Stainless bar 1.4305", _sizes("6 mm|8 mm|10 mm|12 mm|16 mm"), "Metals", "kg", (4.2, 5.2), (0.02, 0.1), lead=(10, 18)),
    Stem("steel_tube", "Steel tube E235", _sizes("20x2|25x2|30x2|33.7x2.6|42.4x2.6"), "Metals", "m", (1.6, 4.2), (0.6, 2.4), lead=(8, 14)),
    Stem("alu_casting", "Casting blank AlSi10Mg", _sizes("H1|H2|H3|H4|H5"), "Castings", "pcs", (2.6, 8.5), (1, 1), lead=(20, 30)),
    Stem("iron_casting", "Casting blank GJL-250", _sizes("N1|N2|N3|N4|N5"), "Castings", "pcs", (1.1, 2.9), (1, 1), lead=(20, 30)),
    Stem("pp", "PP granulate", _sizes("natural|black|green|red|grey"), "Plastics", "kg", (1.3, 1.8), (0.15, 0.9), lead=(8, 14)),
    Stem("abs", "ABS granulate", _sizes("natural|black|green|orange|grey"), "Plastics", "kg", (2.0, 2.6), (0.05, 0.3), lead=(8, 14)),
    Stem("pa6", "PA6-GF30 granulate", _sizes("natural|black|grey|blue|green"), "Plastics", "kg", (3.1, 3.9), (0.05, 0.25), lead=(10, 16)),
    Stem("tpe", "TPE granulate", _sizes("black|green|red|grey|blue"), "Plastics", "kg", (3.8, 4.6), (0.03, 0.12), lead=(10, 16)),
    Stem("hex_screw", "Hexagon screw ISO 4017", _sizes("M5x16|M6x20|M8x20|M8x30|M10x35"), "Fasteners", "pcs", (0.03, 0.16), (4, 8), lead=(5, 9)),
    Stem("pan_screw", "Pan head screw ISO 7045", _sizes("M3x8|M4x10|M4x16|M5x12|M6x16"), "Fasteners", "pcs", (0.015, 0.06), (4, 8), lead=(5, 9)),
    Stem("nut", "Hexagon nut ISO 4032", _sizes("M5|M6|M8|M10|M12"), "Fasteners", "pcs", (0.012, 0.07), (4, 8), lead=(5, 9)),
    Stem("washer", "Washer ISO 7089", _sizes("5|6|8|10|12"), "Fasteners", "pcs", (0.008, 0.04), (2, 6), lead=(5, 9)),
    Stem("rivet", "Blind rivet", _sizes("3.2x8|4x8|4x12|4.8x12|4.8x16"), "Fasteners", "pcs", (0.012, 0.045), (4, 12), lead=(5, 9)),
    Stem("o_ring", "O-ring NBR", _sizes("12x2|18x2|25x2.5|40x3|60x3"), "Seals", "pcs", (0.05, 0.32), (1, 3), lead=(8, 14)),
    Stem("lip_seal", "Shaft seal FKM", _sizes("12x22|15x26|17x30|20x35|25x40"), "Seals", "pcs", (0.9, 2.8), (1, 1), lead=(10, 18)),
    Stem("gasket", "Flat gasket", _sizes("DN 15|DN 20|DN 25|DN 32|DN 40"), "Seals", "pcs", (0.12, 0.6), (1, 2), lead=(8, 14)),
    Stem("cable", "Rubber cable H07RN-F", _sizes("2x1.0|3x1.0|3x1.5|3x2.5|5x1.5"), "Electrical", "m", (0.6, 2.2), (1.5, 10), lead=(10, 18)),
    Stem("wire", "Copper winding wire", _sizes("0.40 mm|0.50 mm|0.63 mm|0.80 mm|1.00 mm"), "Electrical", "kg", (9.5, 11.5), (0.05, 0.3), lead=(10, 18)),
    Stem("terminal", "Cable terminal", _sizes("1.0|1.5|2.5|4.0|6.0"), "Electrical", "pcs", (0.03, 0.14), (3, 6), lead=(6, 12)),
    Stem("hose", "PVC hose", _sizes("1/2 in|5/8 in|3/4 in|1 in|1 1/4 in"), "Plastics", "m", (0.45, 1.9), (1, 12), lead=(8, 14)),
    Stem("powder", "Powder coat", _sizes("RAL 6005|RAL 7016|RAL 9005|RAL 3020|RAL 2004"), "Surface", "kg", (4.6, 6.2), (0.04, 0.2), lead=(8, 14)),
    Stem("primer", "Primer", _sizes("grey|white|zinc|clear|red"), "Surface", "l", (5.5, 7.8), (0.02, 0.08), lead=(8, 14)),
    Stem("grease", "Bearing grease", _sizes("NLGI 1|NLGI 2|NLGI 3|food grade|high temp"), "Consumables", "kg", (6.5, 14), (0.01, 0.04), lead=(6, 10)),
    Stem("adhesive", "Thread locker", _sizes("low|medium|high|sealing|retaining"), "Consumables", "l", (38, 60), (0.002, 0.006), lead=(6, 10)),
    Stem("foam", "Filter foam", _sizes("10 ppi|20 ppi|30 ppi|45 ppi|60 ppi"), "Plastics", "pcs", (0.35, 1.4), (1, 2), lead=(8, 14)),
    Stem("spring", "Compression spring", _sizes("8x20|10x25|12x30|14x35|16x40"), "Fasteners", "pcs", (0.09, 0.4), (1, 2), lead=(8, 14)),
)  # fmt: skip

PACKAGING: tuple[Stem, ...] = (
    Stem("carton", "Carton", _sizes("400x300x300|600x400x400|800x600x500|500x400x300|700x500x400|900x600x600"), "Packaging", "pcs", (0.8, 3.1), lead=(5, 9)),
    Stem("display_box", "Display box", _sizes("S|M|L|XL"), "Packaging", "pcs", (0.9, 1.9), lead=(8, 12)),
    Stem("insert", "Moulded pulp insert", _sizes("S|M|L|XL"), "Packaging", "pcs", (0.3, 0.8), (1, 2), lead=(6, 10)),
    Stem("rating_label", "Rating label", _sizes("40x25|60x30|80x40|100x50"), "Packaging", "pcs", (0.02, 0.07), lead=(5, 8)),
    Stem("manual", "Manual", _sizes("DE/EN|FR/NL|ES/IT|PL/CZ|SE/NO"), "Packaging", "pcs", (0.25, 0.6), lead=(8, 12)),
    Stem("strap", "PP strap", _sizes("9 mm|12 mm|16 mm"), "Packaging", "m", (0.03, 0.09), (1, 3), lead=(5, 8)),
    Stem("corner", "Edge protector", _sizes("50 mm|75 mm|100 mm"), "Packaging", "pcs", (0.06, 0.18), (4, 8), lead=(5, 8)),
    Stem("pallet", "Pallet", _sizes("600x400|800x600|1200x800"), "Packaging", "pcs", (3.8, 8.9), (0.05, 0.5), lead=(5, 8)),
)  # fmt: skip

WORK_CENTRES: tuple[tuple[str, str, float], ...] = (
    ("WC-CUT", "Laser cutting and sawing", 0.90),
    ("WC-FORM", "Pressing and bending", 0.88),
    ("WC-MACH", "Turning and milling", 0.85),
    ("WC-MOULD", "Injection moulding", 0.92),
    ("WC-WELD", "Welding", 0.85),
    ("WC-COAT", "Powder coating", 0.90),
    ("WC-ASSY", "Sub-assembly", 0.95),
    ("WC-FINAL", "Final assembly, test and packing", 0.95),
)
"""Code, name, efficiency."""

SUPPLIERS: tuple[tuple[str, str, str], ...] = (
    ("Stahlhandel Kessler GmbH", "kessler-stahl", "Metals"),
    ("Nordmetall Service AB", "nordmetall", "Metals"),
    ("Acciai Bertolini S.p.A.", "bertolini", "Metals"),
    ("Van Houten Staal B.V.", "vanhouten-staal", "Metals"),
    ("Gießerei Altmann & Söhne", "altmann-guss", "Castings"),
    ("Odlewnia Śląska Sp. z o.o.", "odlewnia-slaska", "Castings"),
    ("Fonderie du Jura SA", "fonderie-jura", "Castings"),
    ("Polychem Compounds Ltd", "polychem", "Plastics"),
    ("Kunststoffwerk Rhön GmbH", "kw-rhoen", "Plastics"),
    ("Plastiques Lavoisier SAS", "lavoisier", "Plastics"),
    ("Hoseflex Oy", "hoseflex", "Plastics"),
    ("Schrauben Wagner KG", "schrauben-wagner", "Fasteners"),
    ("Boltline Ltd", "boltline", "Fasteners"),
    ("Viti e Bulloni Ferri Srl", "ferri-viti", "Fasteners"),
    ("Federn Huber GmbH", "federn-huber", "Fasteners"),
    ("Sealtech Dichtungen AG", "sealtech", "Seals"),
    ("Joints Moreau SARL", "joints-moreau", "Seals"),
    ("Elmotec Antriebe GmbH", "elmotec", "Electrical"),
    ("Zhejiang Linhai Motor Co.", "linhai-motor", "Electrical"),
    ("Kabelwerk Ostermann", "kw-ostermann", "Electrical"),
    ("Electro Componentes Ibérica S.L.", "eci", "Electrical"),
    ("Rolling Bearings Trade Ltd", "rbt", "Bearings"),
    ("Wälzlager Brandt GmbH", "wl-brandt", "Bearings"),
    ("Ložiska Morava s.r.o.", "loziska-morava", "Bearings"),
    ("Armaturen Fischbach GmbH", "fischbach", "Fittings"),
    ("Rubinetterie Colombo S.p.A.", "colombo", "Fittings"),
    ("Messtechnik Lindner", "mt-lindner", "Fittings"),
    ("Räder-Vertrieb Nord GmbH", "raeder-nord", "Running gear"),
    ("Castor & Wheel Co. Ltd", "castorwheel", "Running gear"),
    ("Pulverlack Süd GmbH", "pulverlack-sued", "Surface"),
    ("Coatings Jensen A/S", "coatings-jensen", "Surface"),
    ("Lubra Schmierstoffe GmbH", "lubra", "Consumables"),
    ("Industriebedarf Mayr OHG", "ib-mayr", "Consumables"),
    ("Technische Klebstoffe Roth", "tk-roth", "Consumables"),
    ("Kartonagen Becker GmbH", "kartonagen-becker", "Packaging"),
    ("Boxline Packaging Ltd", "boxline", "Packaging"),
    ("Druckhaus Steinfeld", "dh-steinfeld", "Packaging"),
    ("Paletten Service Rhein", "paletten-rhein", "Packaging"),
    ("Emballages Dupré SA", "emballages-dupre", "Packaging"),
    ("Etiketten Krüger e.K.", "etiketten-krueger", "Packaging"),
)
"""Name, mail domain, the category it sells."""

CUSTOMERS: tuple[str, ...] = (
    "Baumarkt Union", "Gartenwelt Hansen", "Werkzeug-Zentrale Ulm", "Landhandel Petersen", "Jardiland Ouest",
    "Bricotec France", "Toolhouse UK", "Green Acre Centres", "Nordic Byg", "Hornbeam Retail", "Agri Supply Benelux",
    "Ferramenta Conti", "Jardines del Sur", "Oberland Handels KG", "Pumpen Direkt", "Wassertechnik Graf", "Stadtwerke Eschwege",
    "Kommunalbedarf Nord", "Technik Depot Wien", "Alpen Garten AG", "Dom i Ogród", "Zahrada Plus", "Rent-a-Tool", "Bauhof Service",
)  # fmt: skip
