// The status page. Whatever comes from events is put in as text, never as markup.
const REFRESH_MS = 1_000;
let paused = false;
let previous;
const lastRead = {};

const at = (id) => document.getElementById(id);
const number = (value) => Number(value ?? 0).toLocaleString("en");
const time = (ms) => (ms === null || ms === undefined ? "none yet" : new Date(ms).toISOString().slice(11, 23));
const since = (ms, now) => `${Math.max(0, Math.round((now - ms) / 1_000))} s`;

function element(name, text, className) {
  const made = document.createElement(name);
  made.textContent = String(text ?? "");
  if (className) made.className = className;
  return made;
}

/** columns: [heading, row -> text, "number"?, row -> class?] */
function fillTable(id, columns, rows, empty) {
  const head = document.createElement("thead");
  const headings = document.createElement("tr");
  for (const [heading, , kind] of columns) {
    const cell = element("th", heading, kind);
    cell.scope = "col";
    headings.append(cell);
  }
  head.append(headings);
  const body = document.createElement("tbody");
  for (const row of rows) {
    const line = document.createElement("tr");
    for (const [, text, kind, className] of columns)
      line.append(element("td", text(row), [kind, className?.(row)].filter(Boolean).join(" ")));
    body.append(line);
  }
  if (rows.length === 0) {
    const line = document.createElement("tr");
    const cell = element("td", empty);
    cell.colSpan = columns.length;
    line.append(cell);
    body.append(line);
  }
  at(id).replaceChildren(head, body);
}

function showLedger(status) {
  const total = { raw: 0, clean: 0, deadLettered: 0, duplicate: 0, late: 0, redelivered: 0, inFlight: 0 };
  for (const { rawEnd, inFlight, counts } of status.partitions) {
    total.raw += rawEnd;
    total.inFlight += inFlight;
    for (const key of ["clean", "deadLettered", "duplicate", "late", "redelivered"]) total[key] += counts?.[key] ?? 0;
  }
  const rate =
    previous === undefined || status.atMs === previous.atMs ? null : ((total.raw - previous.raw) * 1_000) / (status.atMs - previous.atMs);
  previous = { atMs: status.atMs, raw: total.raw };
  const figures = [
    ["received", number(total.raw)],
    ["clean", number(total.clean)],
    ["dead-lettered", number(total.deadLettered)],
    ["duplicate", number(total.duplicate)],
    ["late", number(total.late)],
    ["in flight", number(total.inFlight)],
    ["rows in ClickHouse", status.tables === null ? "unknown" : number(status.tables.rows)],
    ["events/s", rate === null ? "…" : number(Math.max(0, Math.round(rate)))],
  ];
  const { verified } = status;
  figures.push(
    ["lost, by the last verify", verified === null ? "unknown" : number(verified.lost)],
    ["doubled", verified === null ? "unknown" : number(verified.doubled)],
  );
  at("ledger").replaceChildren(
    ...figures.map(([name, value]) => {
      const pair = document.createElement("div");
      pair.append(element("dt", name), element("dd", value));
      return pair;
    }),
  );
  const missing = total.raw - total.clean - total.deadLettered - total.duplicate - total.late - total.inFlight;
  const text =
    total.raw === 0
      ? "? Unknown: nothing has been received yet."
      : missing === 0
        ? "✓ Balanced: received = clean + dead-lettered + duplicate + late + in flight."
        : `✗ Does not balance by ${number(missing)}: run weir verify.`;
  at("identity").textContent = text;
  at("identity").className = total.raw === 0 ? "" : missing === 0 ? "good" : "bad";
  return missing === 0;
}

function showMinutes({ quality, cost }) {
  const dimensions = quality.targets.map(({ name, targetPercent }, i) => [
    `${name} (${targetPercent})`,
    // Cut, not rounded: one bad event of a million is not 100 %.
    (row) => `${row.percents[i] < targetPercent ? "✗ " : ""}${(Math.floor(row.percents[i] * 10_000 + 1e-6) / 10_000).toFixed(4)}`,
    "number",
    (row) => (row.percents[i] < targetPercent ? "bad" : ""),
  ]);
  fillTable(
    "quality",
    [["source", (row) => row.of[0] || "(none)"], ["events", (row) => number(row.events), "number"], ...dimensions],
    quality.rows,
    "no minute has closed in the last hour",
  );
  fillTable(
    "cost",
    [
      ["source", (row) => row.of[0] || "(none)"],
      ["destination", (row) => row.of[1] || "(none)"],
      ["events", (row) => number(row.events), "number"],
      ["bytes", (row) => number(row.bytes), "number"],
      ["USD", (row) => row.usd.toFixed(6), "number"],
    ],
    cost,
    "no minute has closed in the last hour",
  );
}

/** Figures stay on the page when their source is gone, and say so: old numbers must not pass for new ones. */
function showAge(source, status, sections) {
  const isCurrent = !(source in status.problems);
  if (isCurrent) lastRead[source] = status.atMs;
  const age = lastRead[source] === undefined ? "nothing could be read yet" : `as of ${time(lastRead[source])}`;
  for (const section of sections) at(`${section}-age`).textContent = isCurrent ? "" : `✗ not current, ${source} does not answer: ${age}`;
}

function show(status) {
  at("where").textContent = `lane ${status.lane}, generation ${status.generation}`;
  showAge("Kafka", status, ["ledger", "partitions"]);
  showAge("ClickHouse", status, ["letters", "quality", "cost", "events", "windows"]);
  let balanced = true;
  if (status.partitions !== null) {
    balanced = showLedger(status);
    fillTable(
      "partitions",
      [
        ["partition", (row) => row.partition],
        ["received", (row) => number(row.rawEnd), "number"],
        ["accounted", (row) => number(row.accounted), "number"],
        ["in flight", (row) => number(row.inFlight), "number"],
        ["watermark", (row) => time(row.watermarkMs)],
        ["watermark lag", (row) => (row.watermarkMs === null ? "" : since(row.watermarkMs, status.atMs)), "number"],
        ["last record folded", (row) => time(row.logTimeMs)],
        ["redelivered, trimmed", (row) => number(row.counts?.redelivered), "number"],
      ],
      status.partitions,
      "no partition",
    );
  }
  const parts = status.pipeline?.parts ?? [];
  fillTable(
    "parts",
    [
      ["name", (row) => row.name],
      [
        "state",
        (row) => `${row.state === "running" || row.state === "external" ? "✓" : "✗"} ${row.state}`,
        "",
        (row) => (row.state === "running" || row.state === "external" ? "good" : "bad"),
      ],
      ["for", (row) => since(row.sinceMs, status.atMs), "number"],
      ["restarts", (row) => row.restarts, "number"],
      ["pid", (row) => row.pid ?? "", "number"],
      ["address", (row) => row.address ?? ""],
    ],
    parts,
    "not started by npm start",
  );
  if (status.tables !== null) {
    fillTable(
      "letters",
      [
        ["reason", (row) => row.reason],
        ["meaning", (row) => row.meaning],
        ["events", (row) => number(row.events), "number"],
        ["last", (row) => row.last],
      ],
      status.tables.reasons,
      "none",
    );
    fillTable(
      "events",
      [
        ["event time", (row) => row.event_time],
        ["type", (row) => row.event_type],
        ["user", (row) => row.user_id],
        ["source", (row) => row.source],
        ["value", (row) => row.value ?? "", "number"],
        ["event id", (row) => row.event_id],
        ["position in events.raw", (row) => `${row.p}/${row.source_offset}`],
      ],
      status.tables.recent,
      "none in the last minute",
    );
    fillTable(
      "windows",
      [
        ["kind", (row) => row.kind],
        ["user", (row) => row.user_id],
        ["start", (row) => row.window_start],
        ["events", (row) => row.events, "number"],
        ["value sum", (row) => row.value_sum ?? "", "number"],
      ],
      status.tables.windows,
      "no window has closed yet",
    );
    showMinutes(status.tables);
  }
  const down = parts.filter((part) => !["running", "external", "stopped"].includes(part.state)).map((part) => part.name);
  const troubles = [
    ...Object.entries(status.problems).map(([name, what]) => `${name}: ${what}`),
    ...down.map((name) => `${name} is not running`),
  ];
  if (!balanced) troubles.push("the ledger does not balance");
  at("state").textContent = troubles.length === 0 ? "✓ running" : `✗ degraded: ${troubles.join("; ")}`;
  at("state").className = troubles.length === 0 ? "good" : "bad";
}

async function refresh() {
  if (!paused) {
    try {
      const answer = await fetch("/api/status");
      if (!answer.ok) throw new Error(await answer.text());
      show(await answer.json());
    } catch (error) {
      at("state").textContent = `✗ no status: ${error.message}`;
      at("state").className = "bad";
    }
  }
  setTimeout(() => void refresh(), REFRESH_MS);
}

at("pause").addEventListener("click", () => {
  paused = !paused;
  at("pause").setAttribute("aria-pressed", String(paused));
  at("pause").textContent = paused ? "Go on" : "Pause";
});
void refresh();
