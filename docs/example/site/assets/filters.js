// Filters: of the figures with data-dataset, data-net or data-protocol, only those that the reader chose are shown.
//
// The choices are built from the figures that are on the page, so there is none that nothing has. What lacks an attribute
// is never hidden by it. The state is in the fragment: #dataset=digits&net=T/2&protocol=...
(function () {
  'use strict';

  const NAMES = { dataset: 'Data set', net: 'Network', protocol: 'Protocol' };
  const ALL = 'all';
  const place = document.querySelector('[data-filters]');
  const keys = Object.keys(NAMES);
  const marked = [...document.querySelectorAll('main [data-dataset], main [data-net], main [data-protocol]')];
  const counted = marked.filter((element) => element.matches('figure'));
  const words = new Intl.Collator('en', { numeric: true }).compare;
  const valuesOf = (key) => [...new Set(counted.map((element) => element.dataset[key]).filter((value) => value !== undefined))].sort(words);
  const choices = new Map(keys.map((key) => [key, valuesOf(key)]).filter(([, values]) => values.length > 1));
  const selects = new Map();
  const said = document.createElement('p');

  function fits(element, chosen) {
    return [...chosen].every(([key, value]) => element.dataset[key] === undefined || element.dataset[key] === value);
  }

  function chosenNow() {
    const found = new Map();
    for (const [key, values] of choices) {
      const value = window.benchState.get(key);
      if (value !== null && values.includes(value)) found.set(key, value);
    }
    return found;
  }

  function apply() {
    const chosen = chosenNow();
    for (const element of marked) element.hidden = !fits(element, chosen);
    for (const [key, select] of selects) {
      const values = choices.get(key);
      select.value = chosen.has(key) ? String(values.indexOf(chosen.get(key))) : ALL;
      const others = new Map([...chosen].filter(([other]) => other !== key));
      for (const option of select.options) {
        if (option.value === ALL) continue;
        const wanted = new Map([...others, [key, values[Number(option.value)]]]);
        option.disabled = !counted.some((element) => fits(element, wanted));
      }
    }
    const shown = counted.filter((element) => !element.hidden).length;
    said.textContent = `${shown} of ${counted.length} tables and charts shown`;
  }

  function choose(key, select) {
    window.benchState.set(key, select.value === ALL ? null : choices.get(key)[Number(select.value)]);
    apply();
  }

  function build() {
    for (const [key, values] of choices) {
      const label = document.createElement('label');
      const select = document.createElement('select');
      label.append(NAMES[key], ' ', select);
      select.add(new Option(ALL, ALL));
      values.forEach((value, i) => select.add(new Option(value || '(no name)', String(i))));
      select.addEventListener('change', () => choose(key, select));
      selects.set(key, select);
      place.append(label);
    }
    const reset = document.createElement('button');
    reset.type = 'button';
    reset.textContent = 'Show all';
    reset.addEventListener('click', () => {
      for (const key of choices.keys()) window.benchState.set(key, null);
      apply();
    });
    said.setAttribute('role', 'status');
    place.setAttribute('role', 'search');
    place.setAttribute('aria-label', 'Filter the tables and charts');
    place.append(reset, said);
    window.benchState.onchange(apply);
    apply();
  }

  if (place && choices.size) build();
})();
