"use strict";
// Shows what the API of tf-coord answers. Everything that comes from there is put on the page as text.

const $ = (id) => document.getElementById(id);
const RANKS_SHOWN = 16;
const page = { run: null, shown: null, charts: null, metricsStep: -1, samplesStep: -1, showsAllRanks: false, log: null, lastAnswer: 0, count: 0,
  timer: null, isAsking: false, asksAgain: false };

// MARK: What is asked

// Every address is relative to the page: it may lie below a path of a proxy.
async function ask(path) {
  const response = await fetch(path, { credentials: "same-origin", cache: "no-store", signal: AbortSignal.timeout(8000) });
  if (response.status === 401) throw new SignedOut();
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

class SignedOut extends Error {}

// A link of tf-coord holds a token behind the #, which browsers do not send. It becomes a cookie that scripts cannot read.
async function signIn() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return;
  history.replaceState(null, "", location.pathname);
  await fetch("v1/session", { method: "POST", headers: { Authorization: `Bearer ${token}` } });
}

async function refresh() {
  const runs = await ask("v1/runs");
  page.count = runs.length;
  const named = location.hash.match(/^#\/run\/(.+)$/);
  const run = named ? decodeURIComponent(named[1]) : runs.length === 1 ? runs[0].run : null;
  if (run !== page.run) Object.assign(page, { run, metricsStep: -1, samplesStep: -1, showsAllRanks: false, log: null });
  if (run === null) {
    showList(runs, await ask("v1/hosts"));
    return;
  }
  const base = `v1/runs/${encodeURIComponent(run)}`;
  const status = await ask(base);
  showRun(status);
  const progress = `${status.step}/${status.restarts.length}`;
  if (progress !== page.metricsStep) {
    page.metricsStep = progress;
    showMetrics(await ask(`${base}/metrics`), status);
    showCheckpoints(await ask(`${base}/checkpoints`), status);
    showSamples(base, await ask(`${base}/samples`));
  }
  if ($("log-panel").open) showLog(await ask(`${base}/logs${page.log ? `?launch=${page.log.launch}&offset=${page.log.next}` : ""}`));
}

async function poll() {
  clearTimeout(page.timer);
  if (page.isAsking) { page.asksAgain = true; return; }
  page.isAsking = true;
  let wait = document.hidden ? 10000 : 1500;
  try {
    await refresh();
    page.lastAnswer = Date.now();
    show(page.run === null ? "list" : "run");
  } catch (error) {
    if (error instanceof SignedOut) {
      page.lastAnswer = Date.now();
      show("signin");
      wait = 5000;
    } else {
      page.lastAnswer ||= Date.now();
    }
  }
  showLiveness();
  page.isAsking = false;
  page.timer = setTimeout(poll, page.asksAgain ? 0 : wait);
  page.asksAgain = false;
}

// MARK: What is shown

function show(id) {
  for (const other of ["signin", "list", "run"]) $(other).hidden = other !== id;
  if (id !== "run") {
    $("state").hidden = true;
    $("title").textContent = document.title = "transfusion";
  }
  $("home").hidden = id !== "run" || page.count < 2;
}

function showLiveness() {
  const age = Math.round((Date.now() - page.lastAnswer) / 1000), isLost = age > 6;
  $("live").className = isLost ? "lost" : "";
  $("live").textContent = isLost ? `no answer for ${duration(age)}` : "live";
  document.body.className = isLost ? "stale-page" : "";
  if (isLost && page.run !== null) {
    showVerdict("bad", `tf-coord does not answer since ${duration(age)}`,
      ["It has ended, or cannot be reached. What follows is the last that it said."], `tf-coord status ${page.run}`);
  }
}

const levels = {
  queued: "idle", starting: "idle", running: "good", saving: "good", stopping: "warn", recovering: "bad", done: "good",
  stopped: "idle", failed: "bad", OK: "good", SLOW: "warn", STALE: "warn", DEAD: "bad", used: "good", spare: "idle",
  away: "bad", set_aside: "warn",
};

function chip(word) { return element("span", `chip ${levels[word] || "idle"}`, word.replace("_", " ")); }

function showList(runs, hosts) {
  showHosts($("list-hosts"), hosts);
  if (!runs.length) {
    const hint = element("p", "panel", "No runs yet. ");
    hint.append(element("code", "", "tf-coord submit CONFIG"), " hands one to this daemon.");
    $("runs").replaceChildren(hint);
    return;
  }
  $("runs").replaceChildren(...runs.map((run) => {
    const card = element("a", "panel");
    card.href = `#/run/${encodeURIComponent(run.run)}`;
    const head = element("div", "head", run.run);
    head.append(chip(run.state));
    const bar = element("div", "progress"), fill = element("div");
    fill.style.width = `${run.percent}%`;
    bar.append(fill);
    const facts = element("p", "row");
    facts.append(...[
      `${count(run.step)} / ${count(run.steps)}`, run.loss == null ? null : `loss ${figure(run.loss)}`,
      run.tokens_per_second == null ? null : `${count(run.tokens_per_second)} tok/s`,
      run.eta_seconds == null ? null : `ETA ${duration(run.eta_seconds)}`,
      run.restarts ? plural(run.restarts, "restart") : null,
    ].filter(Boolean).map((text) => element("span", "", text)));
    const trouble = run.state === "failed" ? [run.exit?.reason] : run.warnings;
    card.append(head, bar, facts, ...trouble.filter(Boolean).map((text) => element("p", "quiet", `⚠ ${text}`)));
    return card;
  }));
}

function showRun(status) {
  page.shown = status;
  $("title").textContent = status.run;
  document.title = `${status.percent.toFixed(0)} % ${status.run}`;
  $("state").hidden = false;
  $("state").className = `chip ${levels[status.state] || "idle"}`;
  $("state").textContent = status.state;
  judge(status);

  $("bar").style.width = `${status.percent}%`;
  const elapsed = status.started && !status.exit ? status.time - status.started : null;
  $("progress").replaceChildren(...[
    `step ${count(status.step)} / ${count(status.steps)}`, `${status.percent.toFixed(1)} %`,
    status.eta_seconds == null ? null : `ETA ${duration(status.eta_seconds)}`,
    elapsed === null ? null : `${duration(elapsed)} since the start`,
  ].filter(Boolean).map((text) => element("span", "", text)));

  const losses = status.losses, saved = status.last_checkpoint;
  $("tiles").replaceChildren(
    tile("Loss", losses ? figure(losses.total) : "–", losses ? Object.keys(losses.parts).sort().map((name) => `${name} ${figure(losses.parts[name])}`).join(" · ") : ""),
    tile("Throughput", status.tokens_per_second == null ? "–" : `${count(status.tokens_per_second)}`, "tokens/s"),
    tile("MFU", share(status.mfu), "of the processors' peak"),
    tile("Effective training", share(status.effective_training_time_ratio), "of the time since the start"),
    saved
      ? tile("Last checkpoint", `step ${count(saved.step)}`,
        `${duration(saved.age_seconds)} ago · ${bytes(saved.bytes)} · ${saved.verified == null ? "being verified" : saved.verified ? "verified" : "DAMAGED"}`,
        saved.verified === false ? "bad" : "")
      : tile("Last checkpoint", "none", "yet"),
    tile("Restarts", `${status.restarts.length}`, status.restarts_left == null ? "" : `${status.restarts_left} left without progress`));

  showRanks(status.ranks);
  showRecoveries(status.recoveries);
  showHosts($("hosts"), status.layout?.hosts ?? [], status.layout);
  $("directory").textContent = status.directory;
}

function tile(name, value, note, level = "") {
  const node = element("div", "tile");
  node.append(element("div", "name", name), element("div", "value", value), element("div", `note ${level}`, note));
  return node;
}

// Says in a sentence how the run is, and what to do about it.
function judge(status) {
  const problems = [...status.warnings];
  const ranks = (condition) => status.ranks.filter((rank) => rank.condition === condition).map((rank) => rank.rank);
  const dead = ranks("DEAD");
  if (dead.length) problems.unshift(`${dead.length === 1 ? "rank" : "ranks"} ${dead.slice(0, 8).join(", ")}${dead.length > 8 ? " …" : ""} no longer answer`);
  const last = status.recoveries[status.recoveries.length - 1];
  switch (status.state) {
    case "failed":
      return showVerdict("bad", "The run has failed", [status.exit?.reason, ...problems], `tf-coord logs ${status.run}`);
    case "recovering":
      return showVerdict("bad", "Recovering from a failure", [last?.cause.summary, ...problems]);
    case "waiting": return showVerdict("bad", "Waiting until a launch is possible", problems);
    case "done": return showVerdict(problems.length ? "warn" : "good", `All ${count(status.steps)} steps are done`, problems);
    case "stopped": return showVerdict("idle", `Stopped at step ${count(status.step)}`, [status.exit?.reason, ...problems], `tf-coord resume ${status.run}`);
    case "stopping": return showVerdict("warn", "Stopping: the ranks save at the end of their step", problems);
    case "queued": return showVerdict("idle", "Waits for free slots", problems);
    case "starting": return showVerdict(dead.length ? "bad" : "idle", "Starting", [status.restarts.length ? last?.cause.summary : null, ...problems]);
  }
  if (problems.length) return showVerdict(dead.length ? "bad" : "warn", problems.length === 1 ? "One thing needs a look" : `${problems.length} things need a look`, problems);
  const saved = status.last_checkpoint;
  showVerdict("good", "All is well", [
    `${status.ranks.length} of ${status.layout?.ranks ?? status.ranks.length} ranks send heartbeats` +
    (saved ? `; saved at step ${count(saved.step)}, ${duration(saved.age_seconds)} ago` : "; no checkpoint yet"),
  ]);
}

function showVerdict(level, title, lines, command = null) {
  const list = element("ul");
  list.append(...lines.filter(Boolean).map((line) => element("li", "", line)));
  const parts = [element("strong", "", title)];
  if (list.children.length) parts.push(list);
  if (command) {
    const hint = element("p", "hint", "In a terminal: ");
    hint.append(element("code", "", command));
    parts.push(hint);
  }
  $("verdict").className = `panel ${level}`;
  $("verdict").replaceChildren(...parts);
}

function showRanks(ranks) {
  const order = { DEAD: 0, STALE: 1, SLOW: 2, OK: 3 };
  const sorted = [...ranks].sort((a, b) => order[a.condition] - order[b.condition] || a.rank - b.rank);
  const counts = ["OK", "SLOW", "STALE", "DEAD"].map((c) => [c, ranks.filter((r) => r.condition === c).length]).filter(([, n]) => n);
  $("rank-count").textContent = ranks.length ? counts.map(([c, n]) => `${n} ${c}`).join(", ") : "none send heartbeats";
  $("strip").hidden = ranks.length <= 16;
  $("strip").replaceChildren(...(ranks.length > 16 ? ranks.map((rank) => element("i", rank.condition)) : []));
  const most = Math.max(1e-9, ...ranks.map((r) => r.compute_seconds + r.wait_seconds));
  const rows = page.showsAllRanks ? sorted : sorted.slice(0, RANKS_SHOWN);
  $("ranks").tBodies[0].replaceChildren(...rows.map((rank) => {
    const row = element("tr");
    const state = element("td");
    state.append(chip(rank.condition));
    const load = element("div", "load"), bars = element("div", "bars");
    for (const kind of ["compute", "wait"]) {
      const part = element("div", kind);
      part.style.width = `${100 * rank[`${kind}_seconds`] / most}%`;
      bars.append(part);
    }
    load.append(bars, element("span", "", `${seconds(rank.compute_seconds)} + ${seconds(rank.wait_seconds)}`));
    const busy = element("td", "busy");
    busy.append(load);
    const place = rank.collective ? `${rank.phase}: ${rank.collective}` : rank.phase;
    row.append(
      cell(`${rank.rank}`, "", "rank"), state, cell(rank.host), cell(count(rank.step), "number", "step"),
      cell(`${place}, ${seconds(rank.phase_seconds)}`, "phase"), busy, cell(bytes(rank.memory_bytes), "number memory"),
      cell(`${rank.heartbeat_age.toFixed(1)} s`, "number beat", "♥"));
    return row;
  }));
  $("more").hidden = ranks.length <= RANKS_SHOWN;
  $("more").textContent = page.showsAllRanks ? "Show fewer" : `Show all ${count(ranks.length)} ranks`;
}

function cell(text, kind = "", name = null) {
  const node = element("td", kind, text);
  if (name) node.dataset.name = name;
  return node;
}

function showRecoveries(recoveries) {
  $("recovery-panel").hidden = !recoveries.length;
  $("recovery-count").textContent = `${recoveries.length}; seconds count from the last sign that all was well`;
  const open = new Set([...$("recoveries").querySelectorAll("details[open]")].map((d) => d.dataset.key));
  $("recoveries").replaceChildren(...recoveries.slice(-20).reverse().map((recovery) => {
    const node = element("div", "recovery");
    const head = element("div", "", recovery.cause.summary);
    head.append(element("span", "quiet", `  launch ${recovery.launch}, ${new Date(recovery.time * 1000).toLocaleString()}`));
    const stages = [["detected", recovery.detected], ["killed", recovery.killed], ["relaunched", recovery.relaunched],
      ["loaded", recovery.loaded], ["first step", recovery.first_step]].filter(([, at]) => at != null);
    const end = Math.max(...stages.map(([, at]) => at), 1e-9);
    const line = element("div", "timeline"), words = element("div", "stages");
    let before = 0;
    for (const [name, at] of stages) {
      const part = element("div", name.split(" ")[0]);
      part.style.width = `${100 * (at - before) / end}%`;
      line.append(part);
      const word = element("span");
      word.append(element("i", name.split(" ")[0]), `${name} ${seconds(at)}`);
      words.append(word);
      before = Math.max(before, at);
    }
    if (recovery.lost_steps != null) words.append(element("span", "", `${plural(recovery.lost_steps, "step")} computed again`));
    node.append(head, line, words);
    if (recovery.cause.details.length) {
      const details = element("details");
      details.dataset.key = `${recovery.time}`;
      details.open = open.has(details.dataset.key);
      details.append(element("summary", "", "what the ranks were doing"), element("pre", "", recovery.cause.details.join("\n")));
      node.append(details);
    }
    return node;
  }));
}

function showHosts(place, hosts, layout = null) {
  if (!hosts.length) return place.replaceChildren(element("p", "quiet", "none in use"));
  const table = element("table");
  table.append(...hosts.map((host) => {
    const row = element("tr"), state = element("td");
    state.append(chip(host.condition));
    row.append(cell(host.name), state, cell(`${host.ranks} of ${host.slots} slots`),
      cell(host.failures ? plural(host.failures, "failure") : "", "quiet"));
    return row;
  }));
  const note = layout ? [element("p", "quiet", `${layout.ranks} ranks: data ${layout.data} × tensor ${layout.tensor}`)] : [];
  place.replaceChildren(table, ...note);
}

function showMetrics(metrics, status) {
  const number = (value) => typeof value === "number" ? value : NaN;
  const plain = (value) => Number.isFinite(value) ? figure(value) : String(value);
  const percent = (value) => share(value);
  // Between two measurements, the last one.
  const held = (values) => { let last = NaN; return values.map((value) => last = Number.isFinite(value) ? value : last); };
  const loss = (colour, values, validation) => {
    const validated = held((validation ?? []).map(number));
    const other = colour === "blue" ? "amber" : "blue";
    const trained = { name: validated.some(Number.isFinite) ? "training" : "", colour, format: plain, values };
    return trained.name ? [trained, { name: "validation", colour: other, format: plain, values: validated }] : [trained];
  };
  const one = (colour, format, values) => [{ name: "", colour, format, values }];
  // The parts of a loss differ too much in size for one axis.
  const columns = [
    { title: "Loss", logarithmic: true, series: loss("blue", metrics.loss, metrics.validation_loss) },
    ...Object.keys(metrics.losses).sort().map((part, index) => ({
      title: `Loss: ${part}`, logarithmic: true,
      series: loss(["amber", "teal", "violet"][index % 3], metrics.losses[part], metrics.validation_losses[part]),
    })),
    { title: "Gradient norm", logarithmic: true, series: one("violet", plain, metrics.gradient_norm) },
    { title: "Learning rate", fromZero: true, series: one("blue", (v) => v.toExponential(2), metrics.learning_rate) },
    { title: "Tokens/s", fromZero: true, series: one("teal", count, metrics.tokens_per_second) },
    { title: "MFU", fromZero: true, series: one("amber", percent, metrics.mfu) },
  ];
  const shape = columns.map((column) => column.title + column.series.length).join();
  if (page.charts?.shape !== shape) {
    // Which parts there are is known from the first record on.
    LineChart.removeAll();
    page.charts = columns.map((column) => new LineChart($("charts"), column));
    page.charts.shape = shape;
  }
  const marks = status.restarts.map((restart) => restart.step);
  columns.forEach((column, index) =>
    page.charts[index].update(metrics.step, column.series.map((series) => series.values.map(number)), marks));
  $("resolution").textContent =
    (metrics.records_per_point > 1 ? `a point for ${metrics.records_per_point} records` : "") +
    (marks.length ? " · dashed: restarts" : "");
}

function showCheckpoints(items, status) {
  if (!items.length) return $("checkpoints").replaceChildren(element("p", "quiet", "none yet"));
  const table = element("table"), newest = status.last_checkpoint;
  table.append(...items.map((item) => {
    const row = element("tr");
    const isNewest = newest?.step === item.step;
    row.append(cell(`step ${count(item.step)}`), cell(new Date(item.created * 1000).toLocaleString()), cell(bytes(item.bytes), "number"),
      cell(isNewest && newest.verified != null ? newest.verified ? "verified" : "DAMAGED" : "", "quiet"));
    return row;
  }));
  $("checkpoints").replaceChildren(table);
}

function showSamples(base, drawings) {
  const key = drawings.map((d) => d.step).join();
  if (key === page.samplesStep) return;
  page.samplesStep = key;
  $("sample-panel").hidden = !drawings.length;
  const prompts = drawings.length ? drawings[drawings.length - 1].prompts : [];
  const head = element("tr");
  head.append(element("th"), ...drawings.map((d) => element("th", "step", count(d.step))));
  $("samples").replaceChildren(head, ...prompts.map((prompt, index) => {
    const row = element("tr");
    row.append(element("th", "prompt", prompt), ...drawings.map((drawing) => {
      const place = element("td");
      if (drawing.prompts[index] === prompt) {
        const picture = element("img");
        picture.src = `${base}/samples/${drawing.step}/${index}`;
        picture.alt = `${prompt} after step ${drawing.step}`;
        picture.loading = "lazy";
        place.append(picture);
      }
      return place;
    }));
    return row;
  }));
}

function showLog(part) {
  const log = $("log"), isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 30;
  if (!page.log || page.log.launch !== part.launch) log.textContent = "";
  // What was printed long ago is in the file.
  if (part.text) log.textContent = (log.textContent + part.text).slice(-60000);
  if (isAtEnd) log.scrollTop = log.scrollHeight;
  page.log = part.newest_launch > part.launch && !part.text ? null : part;
  $("log-name").textContent = `of launch ${part.launch}`;
}

// MARK: Figures in words

function figure(value) {
  if (typeof value !== "number" || !Number.isFinite(value)) return String(value);
  return Math.abs(value) >= 1e-3 || value === 0 ? String(Number(value.toPrecision(4))) : value.toExponential(2);
}

function count(value) { return Number.isFinite(value) ? Math.round(value).toLocaleString("en") : "–"; }

function plural(number, noun) { return `${count(number)} ${noun}${number === 1 ? "" : "s"}`; }

function share(value) {
  return typeof value === "number" && Number.isFinite(value) ? `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %` : "–";
}

function seconds(value) { return value >= 100 ? duration(value) : `${value.toFixed(value < 1 ? 3 : 1)} s`; }

function duration(value) {
  const s = Math.max(0, Math.floor(value));
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m${String(s % 60).padStart(2, "0")}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h${String(Math.floor(s % 3600 / 60)).padStart(2, "0")}m`;
  return `${Math.floor(s / 86400)}d${String(Math.floor(s % 86400 / 3600)).padStart(2, "0")}h`;
}

function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) { value /= 1000; unit++; }
  return `${unit ? value.toFixed(1) : value} ${units[unit]}`;
}

// MARK: Begin

$("more").addEventListener("click", () => {
  page.showsAllRanks = !page.showsAllRanks;
  showRanks(page.shown.ranks);
});
$("log-panel").addEventListener("toggle", poll);
document.addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });
const begin = () => signIn().catch(() => {}).finally(poll);
window.addEventListener("hashchange", begin);
begin();
