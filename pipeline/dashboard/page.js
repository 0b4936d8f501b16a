// The page's program. It adds up cells of the model's cubes that fit the filters, finishes the formulas,
// and shows the results. Everything that comes from data goes into the page as text, never as markup.
(() => {
  "use strict";
  const LOCALE = "en-GB";
  const DATES = ["month", "transaction_date", "due_month", "activity_date", "activity_month"]; // what From and To apply to
  const NAMED = ["currency", "branch_code", "product"]; // filters with a list of their own
  const OTHER = "(other)"; // what rare names became
  const MOST_BARS = 20, BAR = 26, MOST_ROWS = 400;
  const LABELS = {
    branch_code: "branch", transaction_type: "kind", credit_band: "credit band", kyc_status: "KYC status",
    due_month: "month", transaction_date: "day", activity_month: "month", activity_date: "day",
    months_on_book: "months on book", reason: "rule",
  };
  const $ = (id) => document.getElementById(id);
  let model = JSON.parse($("model").textContent);
  const state = { currency: null, from: "", to: "", only: {}, by: {}, kpi: {} };

  // --- figures -----------------------------------------------------------------------------------

  // The value of an expression; null where SQL's is null. A division by zero has no value either.
  function evaluate(expression, parts) {
    if (typeof expression === "number") return expression;
    const [operator, ...operands] = expression;
    if (operator === "part") return parts[operands[0]];
    const values = operands.map((operand) => evaluate(operand, parts));
    if (operator === "coalesce") return values.find((value) => value !== null) ?? null;
    const [left, right] = values;
    if (operator === "nullif") return left === right ? null : left;
    if (left === null || right === null || (operator === "/" && right === 0)) return null;
    return { "+": left + right, "-": left - right, "*": left * right, "/": left / right }[operator];
  }

  // Periods are compared by their beginnings, as ISO texts.
  function floored(day, grain) {
    if (!day || grain === "day") return day;
    if (grain === "month") return day.slice(0, 7) + "-01";
    if (grain === "year") return day.slice(0, 4) + "-01-01";
    const month = Math.floor((Number(day.slice(5, 7)) - 1) / 3) * 3 + 1;
    return `${day.slice(0, 4)}-${String(month).padStart(2, "0")}-01`;
  }

  // For each dimension, which of its values are selected; null when all are.
  function selection(cube, without) {
    return cube.dimensions.map(({ name, grain, values }) => {
      if (name === without) return null;
      if (DATES.includes(name)) {
        const from = floored(state.from, grain);
        if (!from && !state.to) return null;
        return values.map((value) => (!from || value >= from) && (!state.to || value <= state.to));
      }
      const wanted = name === "currency" ? state.currency : state.only[name];
      return wanted === undefined || wanted === null ? null : values.map((value) => String(value) === wanted);
    });
  }

  // Groups of the selected cells: [{keys: [value per dimension], parts: [...]}], in the order of the values.
  function grouped(cube, dimensions, without) {
    const chosen = selection(cube, without);
    const places = dimensions.map((name) => cube.dimensions.findIndex((item) => item.name === name));
    const groups = new Map();
    const size = cube.parts[0].values.length;
    for (let cell = 0; cell < size; cell++) {
      let fits = true;
      for (let d = 0; d < chosen.length && fits; d++) {
        if (chosen[d] !== null) {
          const code = cube.dimensions[d].codes[cell];
          fits = code !== null && chosen[d][code];
        }
      }
      if (!fits) continue;
      const codes = places.map((place) => cube.dimensions[place].codes[cell]);
      const key = codes.join(" ");
      let group = groups.get(key);
      if (!group) {
        group = { codes, parts: cube.parts.map((part) => part.empty) };
        groups.set(key, group);
      }
      cube.parts.forEach((part, index) => {
        const value = part.values[cell], before = group.parts[index];
        if (value === null) return;
        group.parts[index] =
          before === null ? value
            : part.kind === "sum" ? before + value
              : part.kind === "min" ? Math.min(before, value) : Math.max(before, value);
      });
    }
    if (!dimensions.length && !groups.size) groups.set("", { codes: [], parts: cube.parts.map((part) => part.empty) });
    const found = [...groups.values()].map(({ codes, parts }) => ({
      codes,
      keys: codes.map((code, index) => (code === null ? null : cube.dimensions[places[index]].values[code])),
      parts: parts.map((part, index) => (part === null ? null : part / 10 ** cube.parts[index].scale)),
    }));
    const rank = (code) => (code === null ? Infinity : code);
    return found.sort((a, b) => {
      for (let i = 0; i < a.codes.length; i++) {
        if (a.codes[i] !== b.codes[i]) return rank(a.codes[i]) - rank(b.codes[i]);
      }
      return 0;
    });
  }

  // The value of a key figure; undefined when the cube does not have it.
  function figure(cube, name, group) {
    if (!cube.kpis.includes(name)) return undefined;
    return evaluate(cube.expressions[name], group.parts);
  }

  // The selected values that are not told apart in a cube: they are part of what rare names became.
  function folded(cube) {
    return cube.dimensions
      .filter(({ name, values }) => name in state.only && values.includes(OTHER) && !values.includes(state.only[name]))
      .map(({ name }) => `${where(state.only[name])} is not told apart here: it is one of the rare values of ${label(name)}.`)
      .join(" ");
  }

  // Positions in a formula's own parts become those in the cube's.
  function prepare() {
    for (const cube of Object.values(model.cubes)) {
      if (cube.missing) continue;
      const place = new Map(cube.parts.map((part, index) => [part.sql, index]));
      cube.expressions = {};
      for (const name of cube.kpis) {
        const parts = model.kpis[name].parts.map((sql) => place.get(sql));
        const placed = (item) =>
          !Array.isArray(item) ? item : item[0] === "part" ? ["part", parts[item[1]]] : [item[0], ...item.slice(1).map(placed)];
        cube.expressions[name] = placed(model.kpis[name].expression);
      }
    }
  }

  // --- how values look ---------------------------------------------------------------------------

  const whole = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 0 });
  const money = new Intl.NumberFormat(LOCALE, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  const short = new Intl.NumberFormat(LOCALE, { notation: "compact", maximumSignificantDigits: 4 });
  const percent = new Intl.NumberFormat(LOCALE, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 2 });
  const instant = new Intl.DateTimeFormat(LOCALE, { dateStyle: "medium", timeStyle: "short", timeZone: "UTC" });
  const NONE = "no value";

  function shown(value, unit, currency) {
    if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
    if (unit === "fraction") return percent.format(value);
    if (unit === "count") return whole.format(value);
    return currency ? `${money.format(value)} ${currency}` : money.format(value);
  }

  function brief(value, unit) {
    if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
    if (unit === "fraction") return percent.format(value);
    return Math.abs(value) < 10_000 ? whole.format(value) : short.format(value).toUpperCase().replace("BN", "B");
  }

  const label = (name) => LABELS[name] ?? name.replaceAll("_", " ");

  function where(value, grain, name) {
    if (value === null) return "(none)";
    if (!grain) return name === "reason" ? value : String(value).replaceAll("_", " ");
    const day = new Date(value + "T00:00:00Z");
    const format = { day: { dateStyle: "medium" }, month: { month: "short", year: "numeric" }, year: { year: "numeric" } }[grain];
    if (format) return new Intl.DateTimeFormat(LOCALE, { ...format, timeZone: "UTC" }).format(day);
    return `Q${Math.floor(day.getUTCMonth() / 3) + 1} ${day.getUTCFullYear()}`;
  }

  const time = (text) => (text ? instant.format(new Date(text)) + " UTC" : NONE);

  function element(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }

  // --- filters -----------------------------------------------------------------------------------

  const cubes = () => Object.values(model.cubes).filter((cube) => !cube.missing);

  function valuesOf(name) {
    const found = new Set();
    for (const cube of cubes()) {
      for (const item of cube.dimensions) if (item.name === name) item.values.forEach((value) => found.add(value));
    }
    found.delete(OTHER); // not the same in every cube
    return [...found].sort();
  }

  // The currency that most cells are in, transactions first.
  function usualCurrency() {
    const cells = new Map();
    for (const cube of [model.cubes.days, ...cubes()]) {
      if (!cube || cube.missing) continue;
      const item = cube.dimensions.find(({ name }) => name === "currency");
      item?.codes.forEach((code) => code !== null && cells.set(item.values[code], (cells.get(item.values[code]) ?? 0) + 1));
      if (cells.size) break;
    }
    return [...cells].sort((a, b) => b[1] - a[1])[0]?.[0] ?? null;
  }

  function span() {
    const days = [];
    for (const cube of cubes()) {
      for (const { name, grain, values } of cube.dimensions) {
        if (!DATES.includes(name) || !values.length) continue;
        days.push(values[0], grain === "day" ? values.at(-1) : lastDay(values.at(-1), grain));
      }
    }
    days.sort();
    return [days[0] ?? "", days.at(-1) ?? ""];
  }

  function lastDay(first, grain) {
    const day = new Date(first + "T00:00:00Z");
    day.setUTCMonth(day.getUTCMonth() + { month: 1, quarter: 3, year: 12 }[grain], 0);
    return day.toISOString().slice(0, 10);
  }

  function fillFilters() {
    for (const name of NAMED) {
      const options = valuesOf(name).map((value) => element("option", { value, textContent: where(value) }));
      if (name !== "currency") options.unshift(element("option", { value: "", textContent: "All" }));
      else if (!options.length) options.push(element("option", { value: "", textContent: "none" }));
      $(name).replaceChildren(...options);
      $(name).disabled = options.length < 2;
    }
    if (!valuesOf("currency").includes(state.currency)) state.currency = usualCurrency();
    for (const name of NAMED.slice(1)) if (!valuesOf(name).includes(state.only[name])) delete state.only[name];
    const [first, last] = span();
    for (const id of ["from", "to"]) Object.assign($(id), { min: first, max: last, disabled: !first });
    $("period").disabled = !first;
  }

  function showFilters() {
    $("currency").value = state.currency ?? "";
    for (const name of NAMED.slice(1)) $(name).value = state.only[name] ?? "";
    $("from").value = state.from;
    $("to").value = state.to;
    const chips = Object.entries(state.only).map(([name, value]) => [`${label(name)}: ${where(value)}`, () => delete state.only[name]]);
    if (state.from || state.to) {
      const text = `${state.from ? where(state.from, "day") : "beginning"} to ${state.to ? where(state.to, "day") : "end"}`;
      chips.push([text, () => Object.assign(state, { from: "", to: "" })]);
    }
    $("chips").replaceChildren(
      ...chips.map(([text, remove]) =>
        element("button", { type: "button", onclick: () => { remove(); changed(`No longer narrowed to ${text}`); } }, `${text} ×`)),
    );
    $("chips").querySelectorAll("button").forEach((button, index) => button.setAttribute("aria-label", `Remove filter ${chips[index][0]}`));
    $("selection").textContent = [`in ${state.currency ?? "no currency"}`, ...chips.map(([text]) => text)].join("; ");
    document.title = `finlake: ${[model.environment, state.currency, ...Object.values(state.only)].filter(Boolean).join(", ")}`;
  }

  // The selection is in the address, so it can be kept as a bookmark and sent to others.
  let written = location.hash;
  function toAddress() {
    const pairs = new URLSearchParams();
    for (const name of ["currency", "from", "to"]) if (state[name]) pairs.set(name, state[name]);
    for (const kind of ["only", "by", "kpi"]) {
      for (const [name, value] of Object.entries(state[kind])) pairs.set(`${kind}.${name}`, value);
    }
    history.replaceState(null, "", "#?" + pairs);
    written = location.hash;
  }

  function fromAddress() {
    if (!location.hash.startsWith("#?")) return;
    const day = (text) => (/^\d{4}-\d\d-\d\d$/.test(text ?? "") ? text : "");
    const pairs = new URLSearchParams(location.hash.slice(2));
    Object.assign(state, { currency: pairs.get("currency"), from: day(pairs.get("from")), to: day(pairs.get("to")) });
    for (const [key, value] of pairs) {
      const [kind, name] = key.split(".");
      if (["only", "by", "kpi"].includes(kind) && name) state[kind][name] = value;
    }
  }

  function drill(name, grain, value) {
    if (DATES.includes(name)) Object.assign(state, { from: value, to: grain === "day" ? value : lastDay(value, grain) });
    else if (name === "currency") state.currency = value;
    else state.only[name] = String(value);
    changed(`Narrowed to ${label(name)} ${where(value, grain)}`);
  }

  function changed(message) {
    showFilters();
    toAddress();
    draw();
    $("said").textContent = message ?? "";
  }

  // --- the page ----------------------------------------------------------------------------------

  const missing = (cube) => `${cube.table} ${{
    "not built yet": "is not built yet: finlake run builds it.",
    "too many combinations": "has too many combinations of what one filters by for a page; finlake query has the figures.",
  }[cube.missing]}`;

  function drawFigures() {
    for (const box of document.querySelectorAll(".figure")) {
      const cube = model.cubes[box.dataset.cube], kpi = model.kpis[box.dataset.kpi];
      const rare = cube.missing ? "" : folded(cube);
      const value = cube.missing ? undefined : rare ? null : figure(cube, kpi.name, grouped(cube, [])[0]);
      const target = box.querySelector("dd");
      const text = value === undefined ? cube.missing ?? "not built yet" : brief(value, kpi.unit);
      const currency = kpi.unit === "money" && text !== NONE && value !== undefined ? element("small", {}, state.currency ?? "") : null;
      target.replaceChildren(...[currency, text].filter(Boolean));
      target.classList.toggle("none", value === undefined || text === NONE);
      target.title = value === undefined ? missing(cube) : text === NONE ? rare || "Nothing in this selection to compute it from" : shown(value, kpi.unit, state.currency);
      const not = cube.missing ? [] : lacking(cube);
      if (not.length) target.append(element("small", { className: "not" }, `not narrowed by ${not.join(", ")}`));
      box.classList.toggle("fault", kpi.name === "unaccounted_rows" && Boolean(value));
    }
  }

  // What a panel shows now: its dimension, figures and rows.
  function viewOf(panel) {
    const cube = model.cubes[panel.cube];
    if (cube.missing) return { empty: missing(cube) };
    const kpis = panel.kpis.filter((name) => cube.kpis.includes(name));
    if (!kpis.length) return { empty: `${cube.table} lacks columns for this: finlake run brings it up to date.` };
    const rare = folded(cube);
    if (rare) return { empty: rare };
    const has = (name) => cube.dimensions.some((item) => item.name === name);
    const offered = panel.by.filter(has);
    // What is narrowed down to one value is no breakdown any more: the next dimension takes its place.
    const free = offered.filter((name) => !(name in state.only));
    const wanted = state.by[panel.name];
    const by = free.includes(wanted) ? wanted : (free.find((name) => name !== "currency") ?? offered[0]);
    const one = ["bars", "line", "curves"].includes(panel.kind);
    const first = one ? (kpis.includes(state.kpi[panel.name]) ? state.kpi[panel.name] : kpis[0]) : null;
    const dimension = cube.dimensions.find((item) => item.name === by);
    const all = grouped(cube, panel.series ? [panel.series, by] : [by], by === "currency" ? by : null);
    const groups = panel.base ? ofAll(cube, panel.base, all) : all;
    return { cube, kpis, offered: free.includes(by) ? free : [by, ...free], by, first, dimension, groups, empty: groups.length ? "" : "Nothing in this selection." };
  }

  // A curve ends where the youngest of its loans do: beyond, it would be a curve of fewer loans.
  function ofAll(cube, base, groups) {
    const most = new Map();
    for (const group of groups) most.set(group.codes[0], Math.max(most.get(group.codes[0]) ?? 0, figure(cube, base, group) ?? 0));
    return groups.filter((group) => (figure(cube, base, group) ?? 0) === most.get(group.codes[0]));
  }

  function drawPanel(panel) {
    const box = $(panel.name), view = viewOf(panel);
    const chart = box.querySelector(".chart");
    const [what, by] = [".what", ".by"].map((name) => box.querySelector(name));
    box.querySelector(".empty").textContent = view.empty;
    box.querySelector(".empty").hidden = !view.empty;
    box.querySelector("details").hidden = Boolean(view.empty);
    chart.hidden = Boolean(view.empty);
    offer(what, panel, "kpi", view.first ? view.kpis : [], view.first, (name) => model.kpis[name].title);
    offer(by, panel, "by", view.offered ?? [], view.by, label);
    box.querySelector(".note").textContent = view.cube ? notes(panel, view) : "";
    if (view.empty) {
      chart.replaceChildren();
      return;
    }
    view.mixed = view.by === "currency" && panel.kind !== "share" && (view.first ? [view.first] : view.kpis).some((name) => model.kpis[name].unit === "money");
    box.querySelector(".scroll").replaceChildren(panel.series ? curvesTable(panel, view) : tableOf(panel, view));
    if (view.mixed) {
      chart.hidden = true;
      box.querySelector(".empty").hidden = false;
      box.querySelector(".empty").textContent = "Amounts in different currencies have no common axis: see the table.";
      box.querySelector("details").open = true;
      return;
    }
    chart.setAttribute("aria-label", described(panel, view));
    embed(panel, view, chart);
  }

  function offer(place, panel, kind, names, current, text) {
    place.hidden = names.length < 2;
    const select = place.querySelector("select");
    select.replaceChildren(...names.map((name) => element("option", { value: name, textContent: text(name), selected: name === current })));
    select.onchange = () => {
      state[kind][panel.name] = select.value;
      changed(`${panel.title}: ${select.selectedOptions[0].textContent}`);
    };
  }

  // What does not narrow a figure down, although one might think so.
  function lacking(cube) {
    const not = Object.keys(state.only).filter((name) => !cube.dimensions.some((item) => item.name === name)).map(label);
    return (state.from || state.to) && !cube.dimensions.some((item) => DATES.includes(item.name)) ? [...not, "dates"] : not;
  }

  // The day on which things stood as a mart of the present says.
  const asOf = (cube) => model.tables.find((row) => row.table === cube.table)?.newest ?? null;

  // What one should know to read the panel as it is now.
  function notes(panel, view) {
    const said = [...view.cube.notes];
    const newest = view.cube.dimensions.some((item) => DATES.includes(item.name)) ? null : asOf(view.cube);
    if (newest) said.push(`As of ${where(newest, "day")}.`);
    if (!view.dimension.grain && !panel.series && view.groups.length > MOST_BARS) {
      said.push(`The chart shows the ${MOST_BARS} largest of ${view.groups.length}; the table has all.`);
    }
    const dates = view.cube.dimensions.find((item) => DATES.includes(item.name));
    if ((state.from || state.to) && dates && dates.grain !== "day") said.push(`By whole ${dates.grain}s.`);
    const not = lacking(view.cube);
    if (not.length) said.push(`Not narrowed by ${not.join(" and ")}, which it does not have.`);
    return said.join(" ");
  }

  function described(panel, view) {
    const names = view.first ? [view.first] : view.kpis;
    const places = view.groups.map((group) => where(group.keys.at(-1), view.dimension.grain));
    const range = places.length > 1 ? `${places.length} values, from ${places[0]} to ${places.at(-1)}` : places[0];
    return `${panel.title}: ${names.map((name) => model.kpis[name].title).join(", ")} by ${label(view.by)}; ${range}. The table below has all figures.`;
  }

  function keyCell(name, grain, value) {
    const text = where(value, grain, name);
    const cell = element("th", { scope: "row" });
    if (value === null || value === OTHER || name === "months_on_book") cell.append(text);
    else {
      const button = element("button", { type: "button", onclick: () => drill(name, grain, value) }, text);
      button.setAttribute("aria-label", `Narrow down to ${label(name)} ${text}`);
      cell.append(button);
    }
    return cell;
  }

  function table(headings, rows, caption) {
    const made = element("table", {}, element("caption", { className: "hidden" }, caption));
    made.append(element("thead", {}, element("tr", {}, ...headings.map(([text, number]) =>
      element("th", { scope: "col", className: number ? "number" : "" }, text)))));
    made.append(element("tbody", {}, ...rows.slice(0, MOST_ROWS)));
    if (rows.length > MOST_ROWS) made.append(element("tfoot", {}, element("tr", {}, element("td", { colSpan: headings.length }, `${rows.length - MOST_ROWS} more; narrow it down to see them.`))));
    return made;
  }

  function tableOf(panel, view) {
    const groups = ordered(panel, view);
    const rows = groups.map((group) => {
      const [key] = group.keys;
      const currency = view.by === "currency" ? key : state.currency;
      return element("tr", {}, keyCell(view.by, view.dimension.grain, key), ...view.kpis.map((name) => {
        const unit = model.kpis[name].unit;
        return element("td", { className: "number" }, shown(figure(view.cube, name, group), unit, view.by === "currency" ? currency : null));
      }));
    });
    const unit = (name) => (model.kpis[name].unit === "money" && view.by !== "currency" && state.currency ? `${model.kpis[name].title}, ${state.currency}` : model.kpis[name].title);
    return table([[label(view.by)], ...view.kpis.map((name) => [unit(name), true])], rows, `${panel.title} by ${label(view.by)}`);
  }

  // How much a rate stands on: one defaulted loan of one is another thing than a hundred of a hundred.
  function basis(panel, view, group) {
    const number = panel.base ? figure(view.cube, panel.base, group) : undefined;
    return number === undefined || number === null ? "" : ` of ${whole.format(number)} loans`;
  }

  // Curves: a row for each, a column for some ages.
  function curvesTable(panel, view) {
    const ages = [...new Set(view.groups.map((group) => Number(group.keys[1])))].sort((a, b) => a - b);
    const some = ages.filter((age) => age % 6 === 0 && age > 0);
    const columns = (some.length ? some : ages).slice(0, 20);
    const curves = new Map();
    for (const group of view.groups) {
      if (!curves.has(group.keys[0])) curves.set(group.keys[0], new Map());
      curves.get(group.keys[0]).set(Number(group.keys[1]), group);
    }
    const grain = view.cube.dimensions.find((item) => item.name === panel.series).grain;
    const number = (text) => element("td", { className: "number" }, text);
    const rows = [...curves].map(([key, curve]) => element("tr", {},
      element("th", { scope: "row" }, where(key, grain)), number(basis(panel, view, [...curve.values()][0]).replace(/[^0-9,]/g, "")),
      ...columns.map((age) => number(curve.has(age) ? shown(figure(view.cube, view.first, curve.get(age)), model.kpis[view.first].unit) : ""))));
    return table([["began in"], ["loans", true], ...columns.map((age) => [`${age} months`, true])], rows, `${model.kpis[view.first].title} by age`);
  }

  // By time as it is; by name, the greatest first.
  function ordered(panel, view) {
    if (view.dimension.grain) return view.groups;
    const size = (group) => (view.first ? [view.first] : view.kpis).reduce((sum, name) => sum + Math.abs(figure(view.cube, name, group) ?? 0), 0);
    return view.mixed ? view.groups : [...view.groups].sort((a, b) => size(b) - size(a));
  }

  // --- charts ------------------------------------------------------------------------------------

  const waiting = new Map(); // charts to draw when they come into view, or when there is time
  const drawn = new Map();

  function rowsOf(panel, view) {
    const grain = view.dimension.grain;
    const names = view.first ? [view.first] : view.kpis;
    let groups = ordered(panel, view);
    if (panel.kind === "bars" && model.kpis[view.first].unit === "count") groups = groups.filter((group) => figure(view.cube, view.first, group));
    if (!grain && !panel.series) groups = groups.slice(0, MOST_BARS);
    const rows = groups.flatMap((group) => names.map((name, rank) => {
      const { title, unit } = model.kpis[name];
      const value = figure(view.cube, name, group);
      const key = group.keys.at(-1);
      const row = { x: key, key, where: where(key, grain, view.by), series: title, rank, short: brief(value, unit), shown: shown(value, unit, state.currency) };
      row.value = value === null || value === undefined ? null : panel.below.includes(name) ? -value : value;
      row.total = panel.kind === "flow" && rank === names.length - 1;
      if (panel.series) {
        const series = view.cube.dimensions.find((item) => item.name === panel.series);
        const began = where(group.keys[0], series.grain);
        row.shown += basis(panel, view, group);
        Object.assign(row, { age: Number(key), began: Date.parse(group.keys[0]), series: `began in ${began}`, where: `month ${key}` });
      }
      return row;
    }));
    return grain === "day" ? withGaps(rows, names) : rows;
  }

  // A day without data is a gap in the line, not a straight line across it.
  function withGaps(rows) {
    const byDay = new Map(rows.map((row) => [row.x, row]));
    const days = [...byDay.keys()].filter(Boolean).sort();
    const all = [];
    for (let day = new Date(days[0] + "T00:00:00Z"), last = days.at(-1); days.length; day.setUTCDate(day.getUTCDate() + 1)) {
      const key = day.toISOString().slice(0, 10);
      if (key > last) break;
      all.push(byDay.get(key) ?? { x: key, where: where(key, "day"), value: null, shown: NONE, short: NONE, series: rows[0].series });
    }
    return all;
  }

  function colours(panel, count) {
    if (panel.kind === "flow") return ["var(--c1)", "var(--c2)", "var(--c3)"].slice(3 - count);
    if (!panel.ranked) return [...Array(count).keys()].map((n) => `var(--k${n + 1})`);
    const ramp = { 3: [1, 3, 5], 5: [1, 2, 3, 4, 5], 6: [1, 2, 3, 4, 5, 6] }[count] ?? [...Array(count).keys()].map((n) => n + 1);
    return ramp.map((step) => `var(--s${step})`);
  }

  function specificationOf(panel, view, width) {
    const names = view.first ? [view.first] : view.kpis;
    const axis = view.dimension.grain || panel.series ? "date" : "name";
    const specification = structuredClone(model.charts[`${panel.kind}-${axis}-${model.kpis[names[0]].unit}`]);
    specification.data = { name: "rows", values: rowsOf(panel, view) };
    const colour = specification.encoding?.color;
    if (colour?.field === "series") colour.scale = { domain: names.map((name) => model.kpis[name].title), range: colours(panel, names.length) };
    const rows = specification.data.values;
    if (axis === "name") specification.height = BAR * Math.max(1, new Set(rows.map((row) => row.where)).size);
    if (colour?.field === "series") colour.legend = { columns: Math.max(1, Math.floor(width / 150)) };
    if (panel.kind === "bars") { // room for the numbers at the bars' ends
      const values = rows.map((row) => row.value ?? 0);
      const high = Math.max(0, ...values), low = Math.min(0, ...values);
      const room = ((high - low) * 60) / Math.max(120, width - 220);
      (specification.encoding.x.scale ??= {}).domainMax = high > 0 ? high + room : low < 0 ? 0 : 1;
      if (low < 0) specification.encoding.x.scale.domainMin = low - room;
    }
    if (axis === "date" && view.dimension.grain === "day") {
      const label = rows.length > 92 ? "%b %Y" : "%e %b";
      specification.encoding.x.axis.format = label;
    }
    return specification;
  }

  function embed(panel, view, target) {
    target.classList.toggle("waiting", !target.firstChild);
    waiting.set(panel.name, async () => {
      drawn.get(panel.name)?.finalize();
      const inner = element("div", { ariaHidden: "true" }); // the words for it are its parent's
      target.style.minHeight = `${target.offsetHeight}px`; // nothing below it moves meanwhile
      target.replaceChildren(inner);
      const result = await window.vegaEmbed(inner, specificationOf(panel, view, target.clientWidth), {
        actions: false, ast: true, renderer: "svg", defaultStyle: false, mode: "vega-lite", logLevel: 1, tooltip: { theme: "custom" },
      });
      target.classList.remove("waiting");
      target.style.minHeight = "";
      drawn.set(panel.name, result);
      result.view.addEventListener("click", (_event, item) => {
        const row = item?.datum;
        if (panel.series || !row?.key || row.key === OTHER) return;
        drill(view.by, view.dimension.grain, row.key);
      });
    });
  }

  async function drawWaiting(names) {
    for (const name of names) {
      const work = waiting.get(name);
      if (!work) continue;
      waiting.delete(name);
      await work();
    }
  }

  const panels = () => model.sections.flatMap((section) => section.panels);
  const inView = (name) => {
    const box = $(name).getBoundingClientRect();
    return box.top < innerHeight && box.bottom > 0;
  };

  let turn = 0;
  async function drawCharts() {
    const mine = ++turn;
    document.documentElement.dataset.ready = "no";
    await drawWaiting(panels().map((panel) => panel.name).filter((name) => waiting.has(name) && inView(name)));
    while (waiting.size && mine === turn) {
      await new Promise((resolve) => setTimeout(resolve)); // others first
      await drawWaiting([waiting.keys().next().value]);
    }
    if (mine === turn) document.documentElement.dataset.ready = "yes";
  }

  function drawLists() {
    const state_ = (text) => element("td", { className: `state-${String(text).replace(/\W/g, "-")}` }, text);
    const number = (text) => element("td", { className: "number" }, text);
    const none = "no value";
    const tables = model.tables.map((row) => element("tr", {}, element("th", { scope: "row" }, row.table), state_(row.state),
      element("td", { className: "instant" }, row.newest ? where(row.newest, "day") : ""), number(row.rows === null ? "" : whole.format(row.rows)), element("td", { className: "instant" }, row.written_at ? time(row.written_at) : none)));
    const runs = model.runs.map((row) => element("tr", {}, element("td", { className: "instant" }, time(row.started_at)), state_(row.status), element("td", {}, row.layer ?? ""),
      number(row.seconds === null ? none : `${row.seconds.toFixed(1)} s`), element("td", {}, element("code", {}, row.run))));
    const put = (id, rows, headings, caption) =>
      document.querySelector(`#${id} .scroll`)?.replaceChildren(rows.length ? table(headings, rows, caption) : element("p", { className: "empty" }, "Nothing yet."));
    put("freshness", tables, [["Table"], ["State"], ["Newest day"], ["Rows", true], ["Last written or loaded"]], "Freshness of tables");
    put("runs", runs, [["Started"], ["Status"], ["Layer"], ["Seconds", true], ["Run"]], "Last runs");
  }

  function draw() {
    drawFigures();
    panels().forEach(drawPanel);
    drawCharts();
  }

  function show() {
    prepare();
    $("as-of").textContent = `read ${time(model.generated_at)}`;
    const all = Object.values(model.cubes);
    const empty = all.every((cube) => cube.missing) ? "Gold is empty: finlake run fills it." : "";
    $("problem").textContent = model.problem ?? empty;
    $("problem").hidden = !$("problem").textContent;
    fillFilters();
    showFilters();
    drawLists();
    draw();
  }

  // --- begin -------------------------------------------------------------------------------------

  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("filters").addEventListener("change", ({ target }) => {
    if (target.id === "period") {
      const [first, last] = span();
      const months = Number(target.value);
      const from = new Date(last + "T00:00:00Z");
      from.setUTCDate(1);
      from.setUTCMonth(from.getUTCMonth() - months + 1);
      const day = months ? from.toISOString().slice(0, 10) : "";
      Object.assign(state, { from: day && day < first ? first : day, to: months ? last : "" });
      target.value = "";
    } else if (["from", "to"].includes(target.id)) {
      state[target.id] = target.value;
      if (state.from && state.to && state.from > state.to) state[target.id === "from" ? "to" : "from"] = target.value;
    } else if (target.id === "currency") state.currency = target.value || null;
    else if (target.value) state.only[target.id] = target.value;
    else delete state.only[target.id];
    changed("The figures are those of the new selection.");
  });
  $("filters").addEventListener("reset", (event) => {
    event.preventDefault();
    Object.assign(state, { from: "", to: "", only: {}, by: {}, kpi: {} });
    changed("All filters are cleared, except the currency.");
  });
  addEventListener("hashchange", () => {
    // The event of a link within the page comes late: by then the address may be what was written here.
    if (!location.hash.startsWith("#?") || location.hash === written) return;
    Object.assign(state, { only: {}, by: {}, kpi: {} });
    fromAddress();
    fillFilters();
    changed();
  });

  const remembered = { get: () => { try { return localStorage.getItem("theme") ?? ""; } catch { return ""; } }, set: (value) => { try { localStorage.setItem("theme", value); } catch { /* not kept, then */ } } };
  function theme(value) {
    if (value) document.documentElement.dataset.theme = value;
    else delete document.documentElement.dataset.theme;
  }
  $("theme").value = remembered.get();
  theme($("theme").value);
  $("theme").addEventListener("change", ({ target }) => { theme(target.value); remembered.set(target.value); });

  async function renew() {
    try {
      if (document.hidden) return;
      const answer = await fetch(model.live.url, { headers: { "If-None-Match": `"${model.fingerprint}"` }, cache: "no-store" });
      if (answer.status === 304 || !answer.ok) return;
      const newer = await answer.json();
      model = { ...model, ...newer };
      show();
      $("said").textContent = newer.problem ?? "The figures have been brought up to date.";
    } catch { /* the server is away: what is shown stays, and says of when it is */
    } finally {
      setTimeout(renew, model.live.seconds * 1000);
    }
  }

  fromAddress();
  show();
  if (model.live) setTimeout(renew, model.live.seconds * 1000);
})();
