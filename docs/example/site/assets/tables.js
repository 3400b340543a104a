// Tables: a click on a column's head sorts by it, and a table can be copied as CSV, Markdown or LaTeX.
//
// A head that sorts has data-sort (number | text), and where it is not the place of the cell in its row, data-column.
// A number is the cell's <data value>, else its data-value, else the first number of its text; what has none comes last.
// How the named tables are sorted is in the fragment: #sort=TABLE.COLUMN.up,TABLE.COLUMN.down
(function () {
  'use strict';

  const OPPOSITE = { up: 'down', down: 'up' };
  const ARIA = { up: 'ascending', down: 'descending' };
  const NUMBER = /-?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?/i;
  const words = new Intl.Collator('en', { numeric: true }).compare;
  const shared = 'sort';

  // Sorting

  function numberOf(cell) {
    const held = cell.querySelector('data');
    const given = held ? held.value : cell.dataset.value;
    if (given !== undefined) return given === '' ? null : Number(given);
    const found = NUMBER.exec(cell.textContent.replaceAll('−', '-'));
    return found ? Number(found[0].replaceAll(',', '')) : null;
  }

  const textOf = (cell) => cell.textContent.trim() || null;

  // The cell of a row that covers a column: one that says why there is no number may span several.
  function cellAt(row, column) {
    let end = 0;
    return [...row.cells].find((cell) => (end += cell.colSpan) > column);
  }

  // A line with what belongs to it: the rows of class "claimed" below.
  function groupsOf(body) {
    const groups = [];
    for (const row of body.rows) {
      if (row.classList.contains('claimed') && groups.length) groups.at(-1).push(row);
      else groups.push([row]);
    }
    return groups;
  }

  function compared(a, b, kind, direction) {
    if (a === null || b === null) return (a === null) - (b === null);
    const order = kind === 'number' ? a - b : words(a, b);
    return direction === 'up' ? order : -order;
  }

  class Sortable {
    constructor(table) {
      this.body = table.tBodies[0];
      this.groups = groupsOf(this.body); // as the page came: equal values keep this order
      this.name = table.closest('[data-table]') && !table.closest('.fold') ? table.closest('[data-table]').dataset.table : '';
      this.heads = [...table.tHead.querySelectorAll('th[data-sort]')];
      this.heads.forEach((head) => this.prepare(head));
    }

    prepare(head) {
      const button = document.createElement('button');
      button.type = 'button';
      button.className = 'sorts';
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener('click', () => this.turn(head));
    }

    key(head) {
      return head.dataset.key || String(head.cellIndex);
    }

    // The better end first, then the other, then as it came.
    turn(head) {
      const first = head.dataset.better === 'max' ? 'down' : 'up';
      const now = head.dataset.direction;
      const next = !now ? first : now === first ? OPPOSITE[first] : null;
      this.sort(head, next);
      if (this.name) remember(this.name, next && `${this.key(head)}.${next}`);
    }

    sort(head, direction) {
      for (const other of this.heads) {
        delete other.dataset.direction;
        other.removeAttribute('aria-sort');
      }
      let groups = this.groups;
      if (head && direction) {
        head.dataset.direction = direction;
        head.setAttribute('aria-sort', ARIA[direction]);
        const place = Number(head.dataset.column || head.cellIndex);
        const read = head.dataset.sort === 'number' ? numberOf : textOf;
        const values = new Map(groups.map((group) => [group, read(cellAt(group[0], place))]));
        groups = [...groups].sort((a, b) => compared(values.get(a), values.get(b), head.dataset.sort, direction));
      }
      this.body.append(...groups.flat());
    }

    // As the fragment says: "COLUMN.up", or nothing.
    restore(state) {
      const cut = state.lastIndexOf('.');
      const head = this.heads.find((one) => this.key(one) === state.slice(0, cut));
      const direction = state.slice(cut + 1);
      if (head && ARIA[direction]) this.sort(head, direction);
      else if (this.heads.some((one) => one.dataset.direction)) this.sort(null, null);
    }
  }

  function remembered() {
    const parts = (window.benchState.get(shared) || '').split(',').filter((part) => part.includes('.'));
    return new Map(parts.map((part) => [part.slice(0, part.indexOf('.')), part.slice(part.indexOf('.') + 1)]));
  }

  function remember(name, state) {
    const all = remembered();
    if (state) all.set(name, state);
    else all.delete(name);
    window.benchState.set(shared, all.size ? [...all].map(([one, text]) => `${one}.${text}`).join(',') : null);
  }

  const tables = [...document.querySelectorAll('table')].filter((table) => table.querySelector('th[data-sort]'))
    .map((table) => new Sortable(table));

  function restoreAll() {
    const all = remembered();
    for (const table of tables) if (table.name) table.restore(all.get(table.name) || '');
  }

  window.benchState.onchange(restoreAll);
  restoreAll();

  // Copying. A page that lies on a disk may load a script, and no other file: data/NAME.js calls benchTake.

  const taken = new Map();
  window.benchTake = (name, texts) => taken.set(name, texts);

  function textsOf(place) {
    const name = place.dataset.take;
    if (taken.has(name)) return Promise.resolve(taken.get(name));
    return new Promise((resolve, reject) => {
      const script = document.createElement('script');
      script.src = place.dataset.from;
      script.onload = () => (taken.has(name) ? resolve(taken.get(name)) : reject(new Error('not what was asked for')));
      script.onerror = () => reject(new Error('the file is not here'));
      document.head.append(script);
    });
  }

  // Where the clipboard is closed to the page (http without s), the old way.
  async function toClipboard(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = document.createElement('textarea');
      area.value = text;
      area.className = 'unseen';
      document.body.append(area);
      area.select();
      const done = document.execCommand('copy');
      area.remove();
      return done;
    }
  }

  function offer(place) {
    const said = document.createElement('span');
    said.setAttribute('role', 'status');
    for (const link of place.querySelectorAll('a[data-form]')) {
      const button = document.createElement('button');
      button.type = 'button';
      const what = document.createElement('span');
      what.className = 'unseen';
      what.textContent = ` ${link.textContent}`;
      button.append('copy', what);
      button.addEventListener('click', async () => {
        const focused = document.activeElement;
        const done = await textsOf(place).then((texts) => toClipboard(texts[link.dataset.form])).catch(() => false);
        said.textContent = done ? 'Copied.' : 'The browser did not let it be copied: take the file.';
        focused.focus();
      });
      link.after(' ', button);
    }
    place.append(said);
  }

  document.querySelectorAll('[data-take]').forEach(offer);
})();
