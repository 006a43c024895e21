
"use strict";
// Everything can be read without this. It searches, sorts, unpacks stories, and answers the keyboard.
(() => {
  const one = (selector, at = document) => at.querySelector(selector);
  const all = (selector, at = document) => [...at.querySelectorAll(selector)];
  const table = one("table.mails");

  // ------------------------------------------------------------ stories: of many mails they are packed

  const packs = all("script.pack").map((element) => ({ element, stories: null }));
  const perPack = 250;
  const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~";

  // Base 85: five letters are four bytes; a shorter last group is as much shorter.
  function decode(text) {
    const value = new Uint8Array(128);
    [...letters].forEach((letter, i) => (value[letter.charCodeAt(0)] = i));
    const bytes = new Uint8Array(Math.ceil(text.length / 5) * 4);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < text.length; i += 5) {
      let number = 0;
      for (let j = i; j < i + 5; j++) number = number * 85 + (j < text.length ? value[text.charCodeAt(j)] : 84);
      view.setUint32((i / 5) * 4, number);
    }
    return bytes.subarray(0, bytes.length - (-text.length % 5 + 5) % 5);
  }

  function inflate(element) {
    const bytes = decode(element.textContent);
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"))).text();
  }

  // A pack holds stories with holes, then for each kind of hole what belongs there, in order.
  async function unpack(pack) {
    const kinds = (await inflate(pack.element)).split("\0").map((kind) => kind.split("\x1f"));
    const next = kinds.map(() => 0);
    const fill = (hole) => kinds[hole.charCodeAt(0)][next[hole.charCodeAt(0)]++];
    return kinds[0].map((story) => story.replace(/[\x01-\x08]/g, fill));
  }

  // A row that holds a story, which was written and escaped where this page was written.
  function below(row, story) {
    const made = document.createElement("tr");
    made.className = "opened";
    const cell = made.insertCell();
    cell.colSpan = row.cells.length;
    cell.innerHTML = story;
    ready(cell);
    return made;
  }

  // Opens the story of a row's mail under it, or closes it again.
  async function toggle(row, open = !row.open) {
    const at = number.get(row) - 1;
    const pack = packs[Math.floor(at / perPack)];
    if (!pack) return; // a page of very many mails has the first ones' stories, and says so
    row.open = open;
    one("a", row).setAttribute("aria-expanded", String(open));
    if (!open) {
      row.story?.remove();
      return;
    }
    pack.stories ??= unpack(pack);
    const stories = await pack.stories.catch(() => []);
    row.story ??= below(row, stories[at % perPack] ?? "<p>This browser is too old to unpack the story.</p>");
    if (row.open) row.after(row.story);
  }

  // The log lines of a few mails are packed where they are many.
  let lines = null;
  document.addEventListener("toggle", async (event) => {
    for (const place of all(".later", event.target)) {
      lines ??= inflate(one("script.pack-lines"));
      const shown = (await lines).split("\x1f")[place.dataset.n];
      if (place.isConnected) place.outerHTML = shown; // else it was opened twice in the meantime
    }
  }, true);

  // ------------------------------------------------------------ one recipient's way

  function ready(place) {
    for (const span of all("span.pick", place)) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "pick";
      button.dataset.r = span.dataset.r;
      button.textContent = span.textContent;
      button.title = "Show only this way";
      button.setAttribute("aria-pressed", "false");
      span.replaceWith(button);
    }
  }

  function pick(button) {
    const mail = button.closest(".mail");
    const on = button.getAttribute("aria-pressed") === "false";
    for (const other of all("button.pick", mail)) other.setAttribute("aria-pressed", String(on && other === button));
    for (const branch of all(".branch", mail)) {
      branch.classList.toggle("fade", on && !branch.dataset.r.split(" ").includes(button.dataset.r));
    }
  }

  // ------------------------------------------------------------ many mails: search and order

  const rows = table ? [...table.tBodies[0].rows] : [];
  const number = new Map(rows.map((row, i) => [row, i + 1]));
  const field = one("#q");
  const chosen = new Set();
  const step = 100; // so many rows are drawn at a time: thousands would make every keystroke slow
  let order = rows;
  let right = rows; // those that the search wants, in order
  let drawn = rows.length;
  let texts = null;
  let waiting = 0; // for the next letter of a search

  const story = (row) => row.story ?? document.getElementById(`m${number.get(row)}`);
  const withStory = (row) => (row.story && row.open ? [row, row.story] : [row]);

  function draw(count) {
    drawn = count;
    table.tBodies[0].replaceChildren(...right.slice(0, drawn).flatMap(withStory));
  }

  function more() {
    if (drawn >= right.length) return;
    table.tBodies[0].append(...right.slice(drawn, drawn + step).flatMap(withStory));
    drawn += step;
  }

  function show() {
    clearTimeout(waiting); // else a search that is over draws anew, and takes the focus from where it has gone since
    texts ??= new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = (row) => words.every((word) => texts.get(row).includes(word)) &&
      (!chosen.size || [...chosen].some((outcome) => one(`.${outcome}`, row)));
    right = order.filter(wanted);
    draw(step);
    if (!packs.length) {
      const few = new Set(right);
      for (const row of rows) story(row).hidden = !few.has(row);
    }
    const count = `${right.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} mails`;
    one("#shown").textContent = words.length || chosen.size ? count : "";
  }

  function sort(header) {
    const column = header.cellIndex;
    const falling = header.getAttribute("aria-sort") === "ascending";
    for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const key = (row) => {
      const cell = row.cells[column];
      if (column === 0) return number.get(row);
      return cell.dataset.v === undefined ? cell.firstChild.textContent.toLowerCase() : Number(cell.dataset.v);
    };
    const keyed = rows.map((row) => [key(row), number.get(row), row]);
    keyed.sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0) * (falling ? -1 : 1) || a[1] - b[1]);
    order = keyed.map(([, , row]) => row);
    show();
  }

  if (table) {
    one(".controls").hidden = false;
    for (const header of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = header.textContent;
      header.replaceChildren(button);
      button.addEventListener("click", () => sort(header));
    }
    field.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(show, 60);
    });
    for (const button of all(".only button")) {
      button.addEventListener("click", () => {
        const on = !chosen.delete(button.dataset.o);
        if (on) chosen.add(button.dataset.o);
        button.setAttribute("aria-pressed", String(on));
        show();
      });
    }
    if (rows.length > step) {
      draw(step);
      new IntersectionObserver((seen) => seen.some((entry) => entry.isIntersecting) && more(), { rootMargin: "1000px" })
        .observe(one("#more"));
      addEventListener("beforeprint", () => draw(rows.length));
    }
  }

  // A row that a link leads to is drawn, whatever is searched for.
  function uncover(row) {
    if (!right.includes(row)) {
      field.value = "";
      for (const button of all(".only [aria-pressed=true]")) button.click();
      show();
    }
    if (!row.isConnected) draw(right.indexOf(row) + step);
  }

  // ------------------------------------------------------------ links within the page

  async function follow() {
    const name = location.hash.slice(1);
    const mail = /^m(\d+)/.exec(name);
    if (!mail) return;
    const row = rows[mail[1] - 1];
    if (row) uncover(row);
    if (row && packs.length) await toggle(row, true);
    const target = document.getElementById(name);
    if (target instanceof HTMLDetailsElement) target.open = true;
    target?.scrollIntoView({ block: "nearest" });
  }

  addEventListener("hashchange", follow);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.pick");
    if (button) pick(button);
    const row = event.target.closest("table.mails > tbody > tr");
    const ours = packs.length && row && number.has(row);
    if (ours && !(event.target.closest("a") && (event.ctrlKey || event.metaKey)) && !String(getSelection())) {
      event.preventDefault();
      toggle(row);
    }
    const host = event.target.closest(".flow a[data-h]");
    if (host && host.getAttribute("href") === "#mails" && field) {
      field.value = field.value === host.dataset.h ? "" : host.dataset.h;
      show();
    }
    const again = event.target.closest("a[href]");
    if (again && again.getAttribute("href") === location.hash) follow(); // no change, no event
  });

  // The hosts of the graph and the rows of the waterfall light each other up.
  for (const kind of ["mouseover", "mouseout", "focusin", "focusout"]) {
    document.addEventListener(kind, (event) => {
      const place = event.target.closest?.("[data-h]");
      const mail = place?.closest(".mail");
      if (!mail) return;
      for (const node of all(".graph [data-h]", mail)) {
        node.classList.toggle("lit", /over|in$/.test(kind) && node.dataset.h === place.dataset.h);
      }
    });
  }

  // ------------------------------------------------------------ the keyboard

  function move(step) {
    const stops = all(".row > summary, table.mails > tbody > tr:not(.opened) > td:first-child > a")
      .filter((stop) => stop.checkVisibility());
    const here = stops.indexOf(document.activeElement);
    const next = stops[here < 0 ? (step > 0 ? 0 : stops.length - 1) : here + step];
    next?.focus();
  }

  const keys = {
    "/": () => field?.focus(),
    j: () => move(1),
    k: () => move(-1),
    e: () => {
      const details = all(".row");
      const open = details.some((row) => !row.open);
      for (const row of details) row.open = open;
    },
    Escape: () => {
      for (const button of all("button.pick[aria-pressed=true], .only [aria-pressed=true]")) button.click();
      if (field?.value) {
        field.value = "";
        show();
      }
      document.activeElement?.blur();
    },
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches?.("input") && event.key !== "Escape";
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  });

  one(".keys").hidden = false;
  ready(document);
  follow();
})();
