// Drawings become interactive charts as they come into view: values on hover, a logarithmic y or not, lines switched off in
// all charts of the page at once, the run's page behind each point. Without Plotly the drawing stays; paper has it always.
//
// State in the fragment: off = slugs of the lines that are switched off; log = names of the charts whose y axis is switched,
// from logarithmic to linear or back. assets/state.js is loaded before.
(function () {
  'use strict';

  const here = document.currentScript.src;
  const forgetful = { get: () => null, set: () => {}, onchange: () => {} };
  const state = window.benchState || forgetful;
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const coarse = matchMedia('(pointer: coarse)');
  const charts = new Map(); // figure -> { figure, spec, box, scale: the button of its y axis }
  let off = new Set();
  let switched = new Set(); // ids of figures
  let library = null;

  // One chart

  function load() {
    library ||= new Promise((resolve, reject) => {
      const script = document.createElement('script');
      script.src = new URL('plotly.min.js', here).href;
      script.onload = () => (window.Plotly ? resolve(window.Plotly) : reject(new Error('no Plotly')));
      script.onerror = reject;
      document.head.append(script);
    });
    return library;
  }

  function colours() {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(`--${name}`).trim();
    return { ink: of('ink'), soft: of('soft'), rule: of('rule'), sheet: of('sheet'), font: getComputedStyle(document.body).fontFamily };
  }

  function traces(chart, colour) {
    return chart.spec.data.map((trace, i) => {
      const line = chart.spec.line[i];
      if (line === null) return { ...trace, line: { ...trace.line, color: colour.ink } };
      const bar = trace.type === 'bar';
      const bars = trace.error_x && bar ? { error_x: { ...trace.error_x, color: colour.ink } } : {};
      return { ...trace, ...bars, visible: off.has(line) ? 'legendonly' : true }; // the key has it still, in grey
    });
  }

  const isLog = (chart) => chart.spec.log.is !== switched.has(chart.figure.id);

  function axis(given, colour, room) {
    // Few on a logarithmic axis: 1, 2, 5, 10; more would be all digits, one on the other.
    const ticks = given.type === 'log' && !given.tickvals ? { tickformat: ',~g', nticks: 3 } : { separatethousands: true, nticks: room };
    return {
      gridcolor: colour.rule, linecolor: colour.soft, tickcolor: colour.soft, showline: true, zeroline: false, ticks: 'outside',
      ticklen: 4, automargin: true, exponentformat: 'none', ...ticks, ...given,
      title: { ...given.title, standoff: 8, font: { size: 13 } },
    };
  }

  function layout(chart, colour) {
    const given = chart.spec.layout;
    const y = given.yaxis.type === 'category' ? given.yaxis : { ...given.yaxis, type: isLog(chart) ? 'log' : 'linear' };
    return {
      xaxis: axis(given.xaxis, colour, chart.box.clientWidth < 420 ? 4 : 7), yaxis: axis(y, colour, 7), showlegend: given.showlegend,
      font: { family: colour.font, size: 12, color: colour.ink }, paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
      annotations: values(chart, colour), margin: { l: 8, r: 14, t: 10, b: 8 }, autosize: true, hovermode: 'closest', barmode: 'overlay', bargap: 0.4,
      dragmode: coarse.matches ? false : 'zoom', // a finger scrolls the page
      legend: { orientation: 'h', x: 0, xanchor: 'left', y: 1.02, yanchor: 'bottom', bgcolor: 'rgba(0,0,0,0)' },
      hoverlabel: { bgcolor: colour.sheet, bordercolor: colour.soft, font: { color: colour.ink, family: colour.font }, align: 'left' },
      uirevision: String(isLog(chart)), // a zoom outlives switches and colours, not another scale
    };
  }

  // Plotly's own text of a bar stands in its error bar.
  function values(chart, colour) {
    return chart.spec.data.flatMap((trace, i) => (trace.type !== 'bar' || off.has(chart.spec.line[i]) ? [] : [{
      x: trace.x[0] + (trace.error_x ? trace.error_x.array[0] : 0), y: trace.y[0], text: trace.text[0],
      showarrow: false, xanchor: 'left', xshift: 5, font: { color: colour.ink },
    }]));
  }

  const config = { displaylogo: false, sendData: false, displayModeBar: 'hover', modeBarButtons: [['zoom2d', 'resetScale2d']], responsive: false, doubleClick: 'reset' };

  function draw(chart) {
    const colour = colours();
    return window.Plotly.react(chart.box, traces(chart, colour), layout(chart, colour), config);
  }

  const redraw = () => charts.forEach((chart) => chart.figure.classList.contains('live') && draw(chart));

  async function enliven(chart) {
    if (chart.box) return;
    chart.box = document.createElement('div');
    chart.box.className = 'chart-box';
    chart.box.setAttribute('role', 'group');
    chart.box.setAttribute('aria-label', `${chart.spec.title}, interactive; its values are under Data`);
    try {
      await load();
      chart.figure.querySelector(':scope > svg').after(chart.box);
      chart.figure.classList.add('live'); // the box has a width from here on
      await draw(chart);
    } catch {
      chart.figure.classList.remove('live');
      chart.box.remove();
      return;
    }
    listen(chart);
    addScale(chart);
  }

  function listen(chart) {
    chart.box.on('plotly_click', (event) => open(chart, event.points[0]));
    chart.box.on('plotly_legendclick', (event) => {
      const line = chart.spec.line[event.curveNumber];
      if (line !== null) flip(line);
      return false; // the switches say what is shown, in all charts
    });
    chart.box.on('plotly_legenddoubleclick', () => false);
    let width = chart.box.clientWidth;
    new ResizeObserver(() => requestAnimationFrame(() => {
      if (!chart.box.clientWidth || chart.box.clientWidth === width) return; // on paper it is hidden
      width = chart.box.clientWidth;
      window.Plotly.Plots.resize(chart.box);
    })).observe(chart.box);
  }

  function addScale(chart) {
    if (!chart.spec.log.may) return;
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'chart-scale';
    button.textContent = 'log y';
    button.title = 'Logarithmic y axis';
    button.addEventListener('click', () => {
      const name = chart.figure.id;
      if (!switched.delete(name)) switched.add(name);
      state.set('log', switched.size ? [...switched].sort().join(',') : null);
      say(chart);
      draw(chart);
    });
    chart.scale = button;
    say(chart);
    chart.figure.querySelector('.chart-head').append(button);
  }

  function say(chart) {
    if (chart.scale) chart.scale.setAttribute('aria-pressed', String(isLog(chart)));
  }

  // The runs behind a point: one is opened, several are offered.

  function open(chart, point) {
    const behind = chart.spec.behind[point.curveNumber];
    if (!behind) return; // real against real
    const runs = (behind.length === 1 ? behind[0] : behind[point.pointNumber]).map((i) => chart.spec.runs[i]);
    const up = chart.figure.dataset.up;
    if (runs.length === 1) {
      location.assign(up + runs[0][1]);
      return;
    }
    const list = chart.figure.querySelector('.chart-runs') || document.createElement('p');
    list.className = 'chart-runs';
    list.tabIndex = -1;
    list.replaceChildren('Runs behind this point: ');
    runs.forEach(([run, page], i) => {
      const link = document.createElement('a');
      link.href = up + page;
      link.textContent = run;
      list.append(i ? ', ' : '', link);
    });
    chart.box.after(list);
    list.focus({ preventScroll: true });
  }

  // One set of switches for the page

  function flip(line) {
    if (!off.delete(line)) off.add(line);
    hide(off);
  }

  function hide(lines) {
    off = new Set(lines);
    state.set('off', off.size ? [...off].sort().join(',') : null);
    show();
  }

  function show() {
    document.querySelectorAll('.switches input').forEach((box) => { box.checked = !off.has(box.value); });
    charts.forEach(say);
    redraw();
  }

  function listed() {
    const lines = new Map();
    charts.forEach(({ spec }) => Object.entries(spec.lines).forEach(([slug, look]) => lines.set(slug, look)));
    return [...lines].sort((one, other) => (one[1][0] < other[1][0] ? -1 : 1));
  }

  function sample([, colour, dash]) {
    const drawing = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    const line = document.createElementNS('http://www.w3.org/2000/svg', 'line');
    const numbers = { x1: 0, y1: 5, x2: 26, y2: 5, stroke: colour, 'stroke-width': 3, 'stroke-dasharray': dash || 'none' };
    Object.entries(numbers).forEach(([name, value]) => line.setAttribute(name, value));
    drawing.setAttribute('viewBox', '0 0 26 10');
    drawing.setAttribute('aria-hidden', 'true');
    drawing.append(line);
    return drawing;
  }

  function switchOf([slug, look]) {
    const label = document.createElement('label');
    const box = document.createElement('input');
    box.type = 'checkbox';
    box.value = slug;
    box.addEventListener('change', () => flip(slug));
    label.append(box, sample(look), look[0]);
    return label;
  }

  function together(text, act) {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = text;
    button.addEventListener('click', act);
    return button;
  }

  function addSwitches() {
    const lines = listed();
    if (lines.length < 2) return;
    const set = document.createElement('fieldset');
    const legend = document.createElement('legend');
    legend.textContent = 'Lines in all charts of this page';
    set.className = 'switches';
    set.append(legend, ...lines.map(switchOf));
    if (lines.length > 3) set.append(together('all', () => hide([])), together('none', () => hide(lines.map(([slug]) => slug))));
    document.querySelector('.charts').before(set);
  }

  function read() {
    const named = (key) => (state.get(key) || '').split(',').filter(Boolean);
    const able = new Set([...charts.values()].filter(({ spec }) => spec.log.may).map(({ figure }) => figure.id));
    off = new Set(named('off'));
    switched = new Set(named('log').filter((name) => able.has(name)));
    show();
  }

  function start() {
    document.querySelectorAll('figure.chart').forEach((figure) => {
      const spec = JSON.parse(figure.querySelector('.chart-spec').textContent);
      charts.set(figure, { figure, spec, box: null, scale: null });
    });
    if (!charts.size) return;
    addSwitches();
    read();
    state.onchange(read);
    dark.addEventListener('change', redraw);
    const seen = new IntersectionObserver((entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
      seen.unobserve(entry.target);
      enliven(charts.get(entry.target));
    }), { rootMargin: '300px' });
    charts.forEach(({ figure }) => seen.observe(figure));
  }

  if (document.readyState === 'complete') start();
  else window.addEventListener('load', start);
})();
