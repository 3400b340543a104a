// Sample grids cut into their samples: one class alone, the path of one noise, one sample enlarged.
// State in the fragment: #class=3&noise=13. Without this script the page shows whole grids that link to their files.
(function () {
  'use strict';

  const state = window.benchState;
  const galleries = JSON.parse(document.getElementById('sample-data').textContent);
  const cut = galleries.filter((gallery) => gallery.cells); // of the others no file says how they are made up
  const labels = [...new Set(cut.flatMap((gallery) => gallery.cells.labels))].sort((a, b) => a - b);
  const [pick, classes, noises] = ['pick', 'pick-class', 'pick-noise'].map((id) => document.getElementById(id));
  const [dialog, title, enlarged] = ['zoom', 'zoom-title', 'zoom-picture'].map((id) => document.getElementById(id));
  let shown = null; // in the dialog: {gallery, line, step, noise, from}

  function element(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children); // strings become text: names are never markup
    return made;
  }

  const figure = (gallery) => document.getElementById(gallery.id);
  const inClass = (gallery, noise) => (labels.length > 1 ? `class ${gallery.cells.labels[noise]}` : '');

  // What is chosen

  function wanted(key) {
    const text = state.get(key);
    return /^\d{1,9}$/.test(text || '') ? Number(text) : null;
  }

  function wantedClass() {
    return labels.includes(wanted('class')) ? wanted('class') : null;
  }

  function matching(gallery) {
    const label = wantedClass();
    return [...gallery.cells.labels.keys()].filter((noise) => label === null || gallery.cells.labels[noise] === label);
  }

  function chosen(gallery) { // undefined where the gallery has nothing of the class
    const found = matching(gallery);
    return found.includes(wanted('noise')) ? wanted('noise') : found[0];
  }

  // One sample: the grid's picture behind a window of a sample's size

  function corner({ cells }, noise) {
    const [width, height] = cells.tile;
    return [(noise % cells.columns) * (width + cells.gap), Math.floor(noise / cells.columns) * (height + cells.gap)];
  }

  function words({ gallery, line, step, noise }) {
    const known = gallery.lines[line].pictures[step].cut ? [inClass(gallery, noise), `noise ${noise}`] : [];
    return [gallery.lines[line].name, gallery.steps[step], ...known].filter(Boolean);
  }

  function sample(place) {
    const { gallery, line, step, noise } = place;
    const picture = gallery.lines[line].pictures[step];
    const [width, height] = gallery.cells.tile;
    const [x, y] = corner(gallery, noise);
    const image = element('img', { src: picture.src, alt: words(place).join(', '), decoding: 'async' });
    const percent = { width: picture.width / width, height: picture.height / height, left: -x / width, top: -y / height };
    for (const [key, value] of Object.entries(percent)) image.style[key] = `${100 * value}%`;
    const made = element('span', { class: gallery.small ? 'sample small' : 'sample' }, image);
    made.style.aspectRatio = `${width} / ${height}`;
    return made;
  }

  function button(place) {
    const { line, step, noise } = place;
    const made = element('button', { type: 'button', class: 'cell', 'data-line': line, 'data-step': step, 'data-noise': noise },
      sample(place));
    made.addEventListener('click', () => show(place));
    return made;
  }

  // The page

  function drawPath(gallery) {
    const place = figure(gallery).querySelector('.path');
    const noise = chosen(gallery);
    place.hidden = noise === undefined;
    if (place.hidden) return;
    const heads = gallery.steps.map((text) => element('th', { scope: 'col' }, text));
    const names = figure(gallery).querySelectorAll('.samples thead a');
    const rows = gallery.lines.map(({ pictures }, line) => element('tr', {},
      element('th', { scope: 'row' }, names[line].cloneNode(true)),
      ...pictures.map((picture, step) => element('td', {},
        picture && picture.cut ? button({ gallery, line, step, noise, from: '.path' }) : '–'))));
    const text = ['The path of noise ' + noise, inClass(gallery, noise)].filter(Boolean).join(', ');
    const table = element('table', { class: 'paths' },
      element('thead', {}, element('tr', {}, element('th', { scope: 'col' }, element('span', { class: 'unseen' }, 'method')), ...heads)),
      element('tbody', {}, ...rows));
    place.replaceChildren(element('h3', {}, text),
      element('div', { class: 'scroll fitted', role: 'region', tabindex: '0', 'aria-label': text }, table));
  }

  function drawGrid(gallery, link) {
    const [line, step] = [Number(link.dataset.line), Number(link.dataset.step)];
    const picture = gallery.lines[line].pictures[step];
    link.parentElement.querySelectorAll('.cells, .here').forEach((old) => old.remove());
    if (!picture.cut) return;
    link.hidden = wantedClass() !== null;
    const noise = chosen(gallery);
    if (link.hidden) {
      const cells = matching(gallery).map((each) => button({ gallery, line, step, noise: each, from: '.cells' }));
      cells.filter((cell) => Number(cell.dataset.noise) === noise).forEach((cell) => cell.setAttribute('aria-current', 'true'));
      link.after(element('div', { class: 'cells' }, ...(cells.length ? cells : [`no class ${wantedClass()}`])));
      return;
    }
    const [x, y] = corner(gallery, noise);
    const mark = element('span', { class: 'here' });
    const percent = {
      left: x / picture.width, top: y / picture.height,
      width: gallery.cells.tile[0] / picture.width, height: gallery.cells.tile[1] / picture.height,
    };
    for (const [key, value] of Object.entries(percent)) mark.style[key] = `${100 * value}%`;
    link.append(mark);
  }

  function drawChoice() {
    const option = (value, text) => element('option', { value }, text);
    const label = wantedClass();
    classes.replaceChildren(option('', 'all'), ...labels.map((each) => option(each, String(each))));
    classes.value = label === null ? '' : String(label);
    const found = [...new Set(cut.flatMap(matching))].sort((a, b) => a - b);
    noises.replaceChildren(...found.map((noise) => {
      const of = new Set(cut.filter(({ cells }) => noise < cells.labels.length).map((gallery) => inClass(gallery, noise)));
      return option(noise, of.size === 1 && label === null && [...of][0] ? `${noise}, ${[...of][0]}` : String(noise));
    }));
    const first = cut.map(chosen).find((noise) => noise !== undefined);
    noises.value = String(found.includes(wanted('noise')) ? wanted('noise') : first);
  }

  function draw() {
    drawChoice();
    for (const gallery of cut) {
      drawPath(gallery);
      figure(gallery).querySelectorAll('.grid').forEach((link) => drawGrid(gallery, link));
    }
  }

  // The dialog

  function turned(what, by) { // where that leads; null at the end
    const { gallery, line, step, noise } = shown;
    const pictures = (each) => gallery.lines[each].pictures;
    if (what === 'noise') {
      const found = pictures(line)[step].cut ? matching(gallery) : [];
      const next = found[found.indexOf(noise) + by];
      return next === undefined ? null : { noise: next };
    }
    const count = what === 'step' ? gallery.steps.length : gallery.lines.length;
    for (let next = shown[what] + by; next >= 0 && next < count; next += by) {
      if (what === 'step' && pictures(line)[next]) return { step: next };
      if (what === 'line' && pictures(next).some(Boolean)) {
        return { line: next, step: pictures(next)[step] ? step : pictures(next).findIndex(Boolean) };
      }
    }
    return null;
  }

  function show(next) {
    shown = { ...shown, ...next };
    const { gallery, line, step } = shown;
    const picture = gallery.lines[line].pictures[step];
    if (picture.cut && shown.noise === undefined) shown.noise = 0; // came from a whole grid, with no sample of the class
    const { noise } = shown;
    const whole = () => element('img', { src: picture.src, alt: picture.alt, class: picture.width < 320 ? 'small' : '' });
    enlarged.replaceChildren(picture.cut ? sample(shown) : whole());
    title.textContent = words(shown).map((text) => text.replace(/^(class|noise) /, '$1\u00a0')).join(' · ');
    const texts = { noise: picture.cut ? `noise ${noise}` : 'whole grid', step: gallery.steps[step], line: gallery.lines[line].name };
    for (const each of dialog.querySelectorAll('[data-turn]')) {
      each.setAttribute('aria-disabled', String(!turned(each.dataset.turn, Number(each.dataset.by))));
      each.parentElement.querySelector('span').textContent = texts[each.dataset.turn];
    }
    document.getElementById('zoom-run').href = gallery.lines[line].page;
    document.getElementById('zoom-file').href = picture.src;
    if (picture.cut) state.set('noise', String(noise));
    if (!dialog.open) dialog.showModal();
  }

  function turn(what, by) {
    const next = turned(what, by);
    if (next) show(next);
  }

  function under({ cells }, picture, image, event) { // the noise that was clicked on
    const box = image.getBoundingClientRect();
    const place = (at, size, pixels, tile) => Math.max(0, Math.floor((at / size) * pixels / (tile + cells.gap)));
    const column = place(event.clientX - box.left, box.width, picture.width, cells.tile[0]);
    const row = place(event.clientY - box.top, box.height, picture.height, cells.tile[1]);
    return Math.min(row * cells.columns + Math.min(column, cells.columns - 1), cells.labels.length - 1);
  }

  function openGrid(gallery, link, event) {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return; // the browser's own: another tab
    event.preventDefault();
    const [line, step] = [Number(link.dataset.line), Number(link.dataset.step)];
    const picture = gallery.lines[line].pictures[step];
    const pointed = picture.cut && event.detail > 0; // Enter points at nothing
    const noise = pointed ? under(gallery, picture, link.querySelector('img'), event) : gallery.cells ? chosen(gallery) : null;
    show({ gallery, line, step, noise, from: '.samples' });
  }

  dialog.addEventListener('close', () => { // the page has what was looked at last, and the focus is there
    const { gallery, line, step, noise, from } = shown;
    draw();
    const there = `[data-line="${line}"][data-step="${step}"]`;
    const found = figure(gallery).querySelector(`${from} ${there}${from === '.cells' ? `[data-noise="${noise}"]` : ''}`);
    if (found) found.focus();
  });
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog) dialog.close(); // beside the picture
    const pressed = event.target.closest('[data-turn]');
    if (pressed) turn(pressed.dataset.turn, Number(pressed.dataset.by));
  });
  dialog.addEventListener('keydown', (event) => {
    const keys = { ArrowLeft: ['noise', -1], ArrowRight: ['noise', 1], ArrowDown: ['step', -1], ArrowUp: ['step', 1] };
    if (!keys[event.key]) return;
    event.preventDefault();
    turn(...keys[event.key]);
  });
  document.getElementById('zoom-close').addEventListener('click', () => dialog.close());

  for (const gallery of galleries) {
    for (const link of figure(gallery).querySelectorAll('.grid')) {
      link.addEventListener('click', (event) => openGrid(gallery, link, event));
    }
  }
  pick.hidden = !cut.length;
  classes.parentElement.hidden = labels.length < 2;
  classes.addEventListener('change', () => {
    state.set('class', classes.value || null);
    if (!cut.some((gallery) => matching(gallery).includes(wanted('noise')))) state.set('noise', null);
    draw();
  });
  noises.addEventListener('change', () => {
    state.set('noise', noises.value);
    draw();
  });
  state.onchange(draw);
  draw();
})();
