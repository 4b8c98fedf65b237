"""The page's pictures: a mark stands where its figure is, names keep off each other, a cell's colour is its bill's."""

from __future__ import annotations

import re

import pytest
from test_report import large_run

from lab.ledger import Entry
from lab.records import write_jsonl
from lab.report import compare, forgetting, load, plane, routes_of
from lab.report.bill import Use, bill, read_prices
from lab.report.page.figure import Figure
from lab.report.page.figures import figures
from lab.report.page.panels import Curve as Line
from lab.report.page.panels import Dot, curves, dots, surface
from lab.report.page.scatter import Axis, Point, scatter
from lab.report.page.svg import LETTER, Look, Scale
from lab.report.scores import Route
from lab.report.wording import listed, percent, points

LOOK = Look("c0", "circle")
PRICES = read_prices("default")
MACHINE = {"environment": {"device": "cpu", "gpu": None, "threads": 2}}
CHANCES = {"closed_book": 0.02, "random": 0.1, "rag": 0.7, "gold": 0.97, "lora": 0.3, "cpt": 0.4, "cpt_rag": 0.72}


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> list[Route]:
    root = tmp_path_factory.mktemp("routes")
    made = []
    for number, (name, chance) in enumerate(CHANCES.items()):
        trained = name in ("lora", "cpt", "cpt_rag")
        costs = [Entry("ingest", seconds=1.0), *([Entry("training", seconds=300.0)] if trained else [])]
        folder = large_run(root / name, name, chance, number, 0.8 if trained else 0.9, costs=costs, **MACHINE)
        if trained:
            names = ("domain_loss", "general_loss", "domain_bits_per_byte", "general_bits_per_byte")
            rows = [{"tokens": t, **dict.fromkeys(names, 2 - t / 1000)} for t in (0, 500, 1000)]
            scores = {"exam_score": None, "general_score": None}
            write_jsonl(folder / "training.jsonl", [{**row, **scores} for row in rows])
        made.append(load(folder))
    return routes_of(made)


def drawn(routes: list[Route], reference: str = "rag") -> dict[str, Figure]:
    frame = compare([run for route in routes for run in route.runs], reference)
    return {figure.id: figure for figure in figures(frame, forgetting(routes), routes, reference, PRICES)}


def texts(svg: str) -> list[tuple[float, float, str, str]]:
    """(x, y, anchor, words) of every text."""
    found = re.findall(r'<text x="([-\d.]+)" y="([-\d.]+)" class="[^"]*" text-anchor="(\w+)">([^<]*)<', svg)
    return [(float(x), float(y), anchor, words) for x, y, anchor, words in found]


def places(svg: str) -> list[tuple[float, float]]:
    """Where the marks stand."""
    return [(float(x), float(y)) for x, y in re.findall(r"translate\(([-\d.]+) ([-\d.]+)\)", svg)]


def test_a_mark_stands_where_the_ticks_say() -> None:
    values = [(10, 20), (30, 60), (20, 40)]
    made = [Point(f"r{x}", LOOK, (x, x - 3, x + 3), (y, y - 5, y + 5), "", False) for x, y in values]
    svg = str(scatter(made, Axis("lost", zero=True), Axis("gained", zero=True), 560, 440, "said"))
    across = {words: x for x, _, anchor, words in texts(svg) if anchor == "middle"}
    up = {words: y - 4 for _, y, anchor, words in texts(svg) if anchor == "end" and words.isdigit()}
    for (x, y), (left, top) in zip(values, places(svg), strict=True):
        assert (left, top) == pytest.approx((across[str(x)], up[str(y)]), abs=0.11)


@pytest.mark.parametrize(("count", "name"), [(10, "route_{}"), (30, "route general_share=0.25 seed={}")])
@pytest.mark.parametrize("width", [350, 560])
def test_names_cover_neither_each_other_nor_a_mark(width: int, count: int, name: str) -> None:
    crowd = [(10 + 0.2 * n, 50 + (n % 3)) for n in range(count)]
    made = [Point(name.format(n), LOOK, (x,) * 3, (y,) * 3, "", n == count - 1) for n, (x, y) in enumerate(crowd)]
    svg = str(scatter(made, Axis("x"), Axis("y"), width, 400, ""))
    names = [(x, y - 11, x + LETTER * len(words), y + 4, words) for x, y, _, words in texts(svg) if "route" in words]
    dots = [(x - 5, y - 5, x + 5, y + 5) for x, y in places(svg)]
    assert len(dots) == count
    assert len(names) == count if count == 10 else 1 <= len(names) < count  # those without room are left out
    assert made[-1].label in {words for *_, words in names}  # on the front, so it chose first
    for number, (left, top, right, bottom, _) in enumerate(names):
        assert 0 <= left < right <= width
        for other in [*dots, *(box[:4] for box in names[number + 1 :])]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top


def test_dots_and_their_bars_stand_at_their_values() -> None:
    svg = str(dots("recall", "n = 9", [Dot("rag", LOOK, 0.25, 0, 0.5, "rag 25 %")], 0.75))
    at = {words: x for x, _, anchor, words in texts(svg) if anchor == "middle"}
    assert places(svg)[0][0] == pytest.approx(at["25"])
    low, high = re.search(r'<line x1="([\d.]+)" y1="[\d.]+" x2="([\d.]+)" y2="[\d.]+" class="bar', svg).groups()  # type: ignore[union-attr]
    assert (float(low), float(high)) == pytest.approx((at["0"], at["50"]))
    assert f'x1="{at["75"]:.1f}" y1="44.0"' in svg


def test_a_curve_goes_through_its_points_and_ends_at_its_name() -> None:
    svg = str(curves("t", "u", "tokens", [Line("cpt", LOOK, [[(0, 1.0), (100, 2.0)]])]))
    first, last = places(svg)
    (_, name_y, _, _) = next(one for one in texts(svg) if one[3] == "cpt")
    assert first[0] < last[0]
    assert first[1] > last[1]  # more is higher
    assert name_y == pytest.approx(last[1] + 4)


def test_a_cell_says_who_is_cheaper_and_how_many_times() -> None:
    svg = str(surface("a against b", "", [1, 10, 100], [0.0], [[-1.5, 0.1, 0.001]], "a"))
    assert re.findall(r'class="cell (\w+)"><title>([^<]*)', svg) == [
        ("more3", "1 questions a day, 0 updates a month: a costs 32 times more"),
        ("less1", "10 questions a day, 0 updates a month: a costs 1.3 times less"),
        ("even", "100 questions a day, 0 updates a month: a costs the same"),
    ]
    assert svg.count('class="sign"') == 1


def test_every_cell_is_that_of_the_two_bills(routes: list[Route]) -> None:
    found = drawn(routes)["surface"]
    named = [re.search(r'aria-label="(\w+) against rag', str(panel))[1] for panel in found.panels]  # type: ignore[index]
    assert named == ["lora", "cpt", "cpt_rag"]
    cells = re.findall(
        r'class="cell ([a-z]+)\d?"><title>([\d.e+]+) questions a day, ([\d.]+) upd', str(found.panels[1])
    )
    assert len(cells) == 13 * 9
    assert {kind for kind, _, _ in cells} == {"more", "even"}  # a question takes both as long, and one was trained
    for kind, questions, updates in cells[::7]:
        month = bill(routes, PRICES, Use(float(questions), float(updates))).set_index("pipeline")["monthly_cost"]
        dearer = month["cpt"] / month["rag"]
        assert kind == ("even" if dearer < 1.005 else "more")


def test_tables_beside_the_pictures_have_the_frames_figures(routes: list[Route]) -> None:
    found = drawn(routes)
    placed = plane(routes).set_index("pipeline")
    for label, gained, lost, _ in found["plane"].table.rows:
        row = placed.loc[label]
        assert gained == points(row["gained"], row["gained_low"], row["gained_high"])
        assert lost == points(row["lost"], row["lost_low"], row["lost_high"])
    front = placed.index[placed["front"].astype(bool)].tolist()
    assert {row[0] for row in found["plane"].table.rows if row[-1] == "yes"} == set(front)
    assert f"dashed: {listed(front)};" in found["plane"].note
    frame = compare([run for route in routes for run in route.runs])
    exam = frame[(frame["suite"] == "exam") & (frame["metric"] == "score") & (frame["practised"] == "all")]
    for row in found["parts"].table.rows:
        values = exam[exam["pipeline"] == row[0]]["value"]
        assert [cell.split("*")[0].split(" ")[0] for cell in row[1:]] == [percent(value) for value in values]
    month = bill(routes, PRICES, Use(1000, 1)).set_index("pipeline")["monthly_cost"]
    for row in found["cost"].table.rows:
        assert float(row[-2]) == pytest.approx(month[row[0]], rel=0.06)


def test_one_training_is_drawn_once_though_several_routes_share_it(routes: list[Route]) -> None:
    found = drawn(routes)["curves"]
    assert len(found.panels) == 2  # no score was taken on the way
    assert "lora, cpt, cpt_rag share one training" in found.note
    assert "cpt" not in str(found.panels[0])


def test_what_cannot_be_known_has_no_picture(routes: list[Route]) -> None:
    only = [route for route in routes if route.pipeline in ("rag", "random")]
    assert list(drawn(only)) == ["cost", "parts", "retrieval"]
    assert list(drawn([route for route in routes if route.pipeline == "closed_book"])) == ["parts"]


@pytest.mark.parametrize(
    ("scale", "value", "place"),
    [
        (Scale(0, 10, 100, 200), 5, 150),
        (Scale(-1, 1, 300, 100), 0.5, 150),
        (Scale(1, 1000, 0, 300, log=True), 100, 200),
    ],
)
def test_a_scale_by_hand(scale: Scale, value: float, place: float) -> None:
    assert scale(value) == pytest.approx(place)


def test_ticks_are_round_and_within() -> None:
    assert Scale(-3, 42, 0, 1).ticks() == [0, 10, 20, 30, 40]
    assert Scale(0, 1, 0, 1).ticks() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert Scale(0.02, 300, 0, 1, log=True).ticks() == pytest.approx([0.1, 1, 10, 100])
    assert Scale(0.9, 30, 0, 1, log=True).ticks() == pytest.approx([1, 2, 5, 10, 20])
