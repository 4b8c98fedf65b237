"use strict";
// The question browser. Texts of documents and answers reach the page as text nodes alone, never as markup.
(() => {
  const PER_PAGE = 50;
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const outcomes = data.outcomes.map(([id, words]) => ({ id, words }));
  const SIGNS = { right: "✓", unknown_right: "✓", partial: "◐", wrong: "✗", unknown: "?", format_error: "!", failed: "–" };
  const isGood = (outcome) => outcome === "right" || outcome === "unknown_right";
  const tone = (outcome) => (isGood(outcome) ? "good" : outcome === "partial" ? "plain" : "bad");
  let page = 0;
  let found = [];

  function make(tag, kind, ...children) {
    const node = document.createElement(tag);
    if (kind) node.className = kind;
    node.append(...children.filter((child) => child !== null));
    return node;
  }

  function option(value, words) {
    const node = make("option", "", words);
    node.value = value;
    return node;
  }

  /** Outcome of a question in each run of a route: names, none where the route was not asked it. */
  function outcomesOf(route, number) {
    return route.runs.map((run) => run.outcomes[number]).filter((place) => place >= 0).map((place) => outcomes[place].id);
  }

  const FITS = {
    any: () => true,
    good: (each) => each.some((all) => all.some(isGood)),
    notgood: (each) => each.some((all) => all.some((outcome) => !isGood(outcome))),
    split: (each) => each.flat().some(isGood) && each.flat().some((outcome) => !isGood(outcome)),
  };

  function fill() {
    at("part").append(option("", "all parts"));
    const parts = new Map();
    for (const question of data.questions) {
      const key = JSON.stringify([question.suite, question.part]);
      parts.set(key, (parts.get(key) || 0) + 1);
    }
    for (const [key, count] of parts) {
      const [suite, part] = JSON.parse(key);
      at("part").append(option(key, `${suite}: ${part} (${count})`));
    }
    at("route").append(option("", "any route"));
    data.routes.forEach((route, number) => at("route").append(option(String(number), route.label)));
    for (const [value, words] of [["any", "any answer"], ["good", "right"], ["notgood", "not right"], ["split", "some right, some not"]])
      at("outcome").append(option(value, words));
    const signs = outcomes.filter(({ id }) => id !== "unknown_right").map(({ id, words }) => `${SIGNS[id]} ${words}`);
    at("signs").textContent = `${signs.join(", ")}; ◐ also where seeds differ. In this order: ${data.routes.map((route) => route.label).join(", ")}.`;
    for (const { id, words } of outcomes.slice(1)) at("outcome").append(option(id, `only: ${words}`));
  }

  const texts = [];
  /** All words of a question, for the search; put together at the first search. */
  function wordsOf(number) {
    if (texts[number] === undefined) {
      const question = data.questions[number];
      const said = [question.id, question.question, ...question.answers, ...question.choices, ...question.given];
      const passages = new Set(question.gold);
      for (const route of data.routes)
        for (const run of route.runs)
          if (run.answers[number] >= 0) {
            said.push(data.texts[run.answers[number]]);
            for (const [passage] of data.desks[run.desks[number]]) passages.add(passage);
          }
      for (const passage of passages) said.push(...data.passages[passage].filter((part) => part !== null));
      texts[number] = said.join("\n").toLowerCase();
    }
    return texts[number];
  }

  function choose() {
    const part = at("part").value;
    const routes = at("route").value === "" ? data.routes : [data.routes[Number(at("route").value)]];
    const outcome = at("outcome").value;
    const sought = at("search").value.trim().toLowerCase();
    const fits = FITS[outcome] || ((each) => each.some((all) => all.includes(outcome)));
    found = [];
    data.questions.forEach((question, number) => {
      if (part && part !== JSON.stringify([question.suite, question.part])) return;
      const each = routes.map((route) => outcomesOf(route, number));
      if (!each.some((all) => all.length) || !fits(each)) return;
      if (sought && !wordsOf(number).includes(sought)) return;
      found.push(number);
    });
    page = 0;
    show();
  }

  function sign(all) {
    if (!all.length) return ["·", "plain", "not asked"];
    const good = all.filter(isGood).length;
    if (good > 0 && good < all.length) return ["◐", "plain", `right in ${good} of ${all.length} seeds`];
    const words = outcomes.find((outcome) => outcome.id === all[0]).words;
    return [SIGNS[all[0]], tone(all[0]), words];
  }

  function strip(number) {
    const node = make("span", "outcomes");
    const words = [];
    for (const route of data.routes) {
      const [letter, kind, said] = sign(outcomesOf(route, number));
      const one = make("span", `outcome ${kind}`, letter);
      one.title = `${route.label}: ${said}`;
      words.push(one.title);
      node.append(one);
    }
    node.setAttribute("role", "img");
    node.setAttribute("aria-label", words.join("; "));
    return node;
  }

  function passageNode(place, score, gold) {
    const [id, title, text] = data.passages[place];
    const head = make("p", "title", title || id);
    if (title) head.append(make("span", "", ` ${id}`));
    if (score !== null) head.append(make("span", "", `, score ${score}`));
    if (gold) head.append(" ", make("b", "", "gold"));
    return make("div", `passage${gold ? " gold" : ""}`, head, make("p", "text", text === null ? "(only its id is known)" : text));
  }

  /** A route's answers to a question, each once, with the seeds that gave it. */
  function alike(route, number) {
    const seeds = new Map();
    for (const run of route.runs) {
      if (run.answers[number] < 0) continue;
      const key = JSON.stringify([run.answers[number], run.outcomes[number], run.scores[number]]);
      seeds.set(key, [...(seeds.get(key) || []), run.seed]);
    }
    return [...seeds].map(([key, all]) => [JSON.parse(key), all]);
  }

  function answersNode(number) {
    const body = make("tbody");
    for (const route of data.routes)
      for (const [[answer, outcome, score], seeds] of alike(route, number)) {
        const { id, words } = outcomes[outcome];
        const name = make("th", "", route.label);
        if (route.runs.length > 1) name.append(make("small", "", `seed ${seeds.join(", ")}`));
        name.scope = "row";
        const share = id === "partial" ? ` ${Math.round(100 * score)} %` : "";
        const grade = make("td", "", make("span", `outcome ${tone(id)}`, SIGNS[id]), ` ${words}${share}`);
        body.append(make("tr", "", name, make("td", "", data.texts[answer] || "(empty)"), grade));
      }
    const head = make("tr", "");
    for (const said of ["route", "answer", "grade"]) {
      const cell = make("th", "", said);
      cell.scope = "col";
      head.append(cell);
    }
    return make("table", "", make("thead", "", head), body);
  }

  function desksNode(number) {
    const question = data.questions[number];
    const node = make("div");
    const desks = new Map();
    for (const route of data.routes)
      for (const run of route.runs) {
        const desk = run.desks[number];
        if (desk < 0 || !data.desks[desk].length) continue;
        const names = desks.get(desk) || new Set();
        desks.set(desk, names.add(route.label));
      }
    const seen = new Set();
    for (const [desk, names] of desks) {
      node.append(make("h4", "", `On the desk of ${[...names].join(", ")}`));
      for (const [passage, score] of data.desks[desk]) {
        seen.add(passage);
        node.append(passageNode(passage, score, question.gold.includes(passage)));
      }
    }
    const missed = question.gold.filter((passage) => !seen.has(passage));
    if (missed.length) node.append(make("h4", "", "Gold, on nobody's desk"));
    for (const passage of missed) node.append(passageNode(passage, null, true));
    return node;
  }

  function inside(number) {
    const question = data.questions[number];
    const [right, ...also] = question.answers;
    const left = make("div");
    for (const text of question.given) left.append(make("div", "passage", make("p", "text", text)));
    question.choices.forEach((choice, place) => left.append(make("p", "wanted", `${String.fromCharCode(65 + place)}. ${choice}`)));
    left.append(make("p", "wanted", "Right: ", make("b", "", right), also.length ? ` (or ${also.join("; ")})` : null));
    const practised = question.practised === null ? "" : question.practised ? ", practised" : ", not practised";
    left.append(make("p", "part", `${question.id}, ${question.suite}, ${question.part}${practised}`), answersNode(number));
    return make("div", "inside", left, desksNode(number));
  }

  function questionNode(number) {
    const question = data.questions[number];
    const summary = make("summary", "", make("span", "part", question.part), make("span", "", question.question), strip(number));
    const node = make("details", "question", summary);
    node.addEventListener("toggle", () => {
      if (node.open && node.children.length === 1) node.append(inside(number));
    });
    return node;
  }

  function show() {
    const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
    const shown = found.slice(page * PER_PAGE, (page + 1) * PER_PAGE);
    at("list").replaceChildren(...shown.map(questionNode));
    at("count").textContent = `${found.length} of ${data.questions.length} questions`;
    at("pager").hidden = pages === 1;
    at("page").textContent = `Page ${page + 1} of ${pages}`;
    at("previous").disabled = page === 0;
    at("next").disabled = page === pages - 1;
  }

  function turn(by) {
    page += by;
    show();
    at("questions").scrollIntoView();
  }

  fill();
  for (const id of ["part", "route", "outcome"]) at(id).addEventListener("change", choose);
  at("search").addEventListener("input", choose);
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  at("previous").addEventListener("click", () => turn(-1));
  at("next").addEventListener("click", () => turn(1));
  choose();
})();
