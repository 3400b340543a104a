// Two runs side by side, from the data in the page; which two is in the fragment (#a=...&b=...).
(function () {
  'use strict';

  const runs = JSON.parse(document.getElementById('runs').textContent);
  const byName = new Map(runs.map((run) => [run.run, run]));
  const form = document.getElementById('pick');
  const [first, second] = ['first', 'second'].map((id) => document.getElementById(id));
  const place = document.getElementById('compared');
  const comparing = document.getElementById('comparing'); // the one sentence that is read out

  function element(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    made.append(...children); // strings become text: names are never markup
    return made;
  }

  function table(title, heads, lines, kind) {
    const head = element('tr', {}, ...heads.map((text, i) => element('th', { scope: 'col', class: i ? 'words' : 'name' }, text)));
    const body = lines.map(([name, ...cells]) => element('tr', {}, element('th', { scope: 'row', class: 'name' }, ...[name].flat()), ...cells));
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

  // A score stands beside the other run's whatever made it; a cost, and a score that a run has of two devices, of that device.
  function paired(one, other) {
    const places = new Map();
    [one, other].forEach((run, side) => run.values.forEach((value) => {
      const key = JSON.stringify([value.protocol, value.metric, value.steps]);
      if (!places.has(key)) places.set(key, [[], []]);
      places.get(key)[side].push(value);
    }));
    const pairs = [...places.values()].flatMap(([a, b]) => {
      const devices = [...new Set([...a, ...b].map(({ device }) => device))];
      if (!(a[0] || b[0]).cost && a.length < 2 && b.length < 2) return [{ a: a[0], b: b[0], known: a[0] || b[0], device: '' }];
      const on = (device) => [a, b].map((values) => values.find((value) => value.device === device));
      return devices.map((device) => ({ a: on(device)[0], b: on(device)[1], known: on(device).find(Boolean), device }));
    });
    const order = ({ known, device }) => [known.protocol, known.metric, known.steps === null ? -1 : known.steps, device];
    return pairs.sort((x, y) => {
      const i = order(x).findIndex((part, at) => part !== order(y)[at]);
      return i < 0 ? 0 : order(x)[i] < order(y)[i] ? -1 : 1; // numbers as numbers: 2 steps before 16
    });
  }

  function gap(a, b) { // scores of two data sets, costs of two data sets or networks: no difference means anything
    const alike = a && b && a.place.every((part, i) => part === b.place[i] || (i === 1 && !a.cost));
    return alike ? difference((a.value - b.value) / a.divisor) : '–';
  }

  function values(one, other) {
    return paired(one, other).map(({ a, b, known, device }) => {
      const steps = known.steps === null ? '' : `, ${known.steps} ${known.steps === 1 ? 'step' : 'steps'}`;
      const name = [`${known.metric}${steps}`, ...(device ? [element('small', {}, device)] : [])];
      return [name, element('td', { class: 'protocol' }, known.protocol), shown(a, one.page), shown(b, other.page),
        element('td', { class: 'value' }, gap(a, b))];
    });
  }

  function draw() {
    const [one, other] = [byName.get(first.value), byName.get(second.value)];
    const heads = (what) => [what, one.run, other.run];
    const parts = [];
    comparing.replaceChildren('Comparing ', ...[one, other].flatMap((run, i) => [i ? ' and ' : '',
      element('a', { href: run.page }, run.run), run.state === 'ok' ? '' : ` (${run.state})`]));
    const [differing, equal] = sides(one, other, 'settings');
    const [apart, alike] = sides(one, other, 'facts');
    if (one === other) parts.push(element('p', { class: 'none' }, 'These are one and the same run: choose another.'));
    parts.push(differing.length ? table('Settings that differ', heads('setting'), words(differing), 'settings')
      : element('p', {}, 'All recorded settings are equal.'));
    parts.push(table('Values', ['score', 'protocol', one.run, other.run, 'first − second'], values(one, other), 'values'));
    if (apart.length) parts.push(table('Circumstances that differ', heads('fact'), words(apart), 'circumstances'));
    const same = element('details', { class: 'fold' }, element('summary', {}, `What is equal (${equal.length + alike.length})`),
      table('Equal', heads('setting or fact'), words([...equal, ...alike]), 'equal'));
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
