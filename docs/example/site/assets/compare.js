// Two runs side by side, from the data in the page; which two is in the fragment (#a=...&b=...).
(function () {
  'use strict';

  const runs = JSON.parse(document.getElementById('runs').textContent);
  const byName = new Map(runs.map((run) => [run.run, run]));
  const form = document.getElementById('pick');
  const [first, second] = ['first', 'second'].map((id) => document.getElementById(id));
  const place = document.getElementById('compared');

  function element(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    made.append(...children); // strings become text: names are never markup
    return made;
  }

  function table(title, heads, lines, kind) {
    const head = element('tr', {}, ...heads.map((text) => element('th', { scope: 'col', class: 'words' }, text)));
    const body = lines.map(([name, ...cells]) => element('tr', {}, element('th', { scope: 'row' }, name), ...cells));
    const made = element('table', { class: `pair ${kind}` }, element('caption', {}, title),
      element('thead', {}, head), element('tbody', {}, ...body));
    return element('figure', { class: 'sheet' },
      element('div', { class: 'scroll fitted', role: 'region', tabindex: '0', 'aria-label': title }, made));
  }

  function sides(one, other, what) {
    const keys = [...new Set([...Object.keys(one[what]), ...Object.keys(other[what])])];
    const lines = keys.map((key) => [key, one[what][key], other[what][key]]);
    return [lines.filter(([, a, b]) => a !== b), lines.filter(([, a, b]) => a === b)];
  }

  function words(lines) {
    return lines.map(([key, ...values]) => [key, ...values.map((value) => element('td', {}, value === undefined ? '–' : value))]);
  }

  function shown(found, page) {
    if (!found) return element('td', { class: 'value none' }, '–');
    const link = element('a', { href: `${page}#row-${found.rows[0]}` }, element('data', { value: found.value }, found.text));
    const cell = element('td', { class: 'value' }, link);
    if (found.sd !== null) cell.append(element('small', {}, ` sd ${(found.sd / found.divisor).toPrecision(2)}, ${found.seeds} seeds`));
    return cell;
  }

  function difference(value) {
    return value === 0 ? '0' : Number(value.toPrecision(3)).toLocaleString('en-US', { maximumSignificantDigits: 3 });
  }

  function values(one, other) {
    const keys = [...new Set([...Object.keys(one.values), ...Object.keys(other.values)])].sort();
    return keys.map((key) => {
      const [a, b] = [one.values[key], other.values[key]];
      const known = a || b;
      const steps = known.steps === null ? '' : `, ${known.steps} ${known.steps === 1 ? 'step' : 'steps'}`;
      const gap = a && b ? difference((a.value - b.value) / known.divisor) : '–';
      return [`${known.metric}${steps}`, element('td', {}, known.protocol), shown(a, one.page), shown(b, other.page),
        element('td', { class: 'value' }, gap)];
    });
  }

  function draw() {
    const [one, other] = [byName.get(first.value), byName.get(second.value)];
    const heads = ['', ...[one, other].map((run) => run.run)];
    const parts = [element('p', {}, ...[one, other].flatMap((run, i) => [i ? ' and ' : '',
      element('a', { href: run.page }, run.run), run.state === 'ok' ? '' : ` (${run.state})`]))];
    const [differing, equal] = sides(one, other, 'settings');
    const [apart, alike] = sides(one, other, 'facts');
    if (one === other) parts.push(element('p', { class: 'none' }, 'These are one and the same run: choose another.'));
    parts.push(differing.length ? table('Settings that differ', heads, words(differing), 'settings')
      : element('p', {}, 'All recorded settings are equal.'));
    parts.push(table('Values', ['score', 'protocol', ...heads.slice(1), 'first − second'], values(one, other), 'values'));
    if (apart.length) parts.push(table('Circumstances that differ', heads, words(apart), 'facts'));
    const same = element('details', { class: 'fold' }, element('summary', {}, `What is equal (${equal.length + alike.length})`),
      table('Equal', heads, words([...equal, ...alike]), 'equal'));
    place.replaceChildren(...parts, same);
  }

  function chosen() {
    for (const [select, key, otherwise] of [[first, 'a', 0], [second, 'b', Math.min(1, runs.length - 1)]]) {
      const wanted = window.benchState.get(key);
      select.value = byName.has(wanted) ? wanted : runs[otherwise].run;
    }
    draw();
  }

  function changed() {
    window.benchState.set('a', first.value);
    window.benchState.set('b', second.value);
    draw();
  }

  if (!runs.length) return;
  form.hidden = false;
  form.addEventListener('submit', (event) => event.preventDefault());
  first.addEventListener('change', changed);
  second.addEventListener('change', changed);
  document.getElementById('swap').addEventListener('click', () => {
    [first.value, second.value] = [second.value, first.value];
    changed();
  });
  window.benchState.onchange(chosen);
  chosen();
}());
