// What a page shows lives in its fragment, so that a link leads to it: #key=value&key2=value2. Loaded before other scripts.
//
//   window.benchState.get('dataset')          // string, or null where it is not set
//   window.benchState.set('dataset', 'digits') // null takes the key away
//   window.benchState.onchange(draw)          // the reader went back, or typed another fragment
//
// A fragment without "=" is an ordinary anchor, and one may stand before the keys: #published&dataset=digits.
(function () {
  'use strict';

  function decoded(text) {
    try {
      return decodeURIComponent(text);
    } catch {
      return text; // a lone %: typed by hand
    }
  }

  function read() {
    const parts = location.hash.slice(1).split('&').filter((part) => part !== '');
    const pairs = parts.filter((part) => part.includes('='));
    const values = new Map(pairs.map((part) => {
      const cut = part.indexOf('=');
      return [decoded(part.slice(0, cut)), decoded(part.slice(cut + 1))];
    }));
    return { anchor: parts.find((part) => !part.includes('=')) || '', values };
  }

  const encoded = (text) => encodeURIComponent(text).replaceAll('%2C', ',');

  function get(key) {
    const { values } = read();
    return values.has(key) ? values.get(key) : null;
  }

  function set(key, value) {
    const { anchor, values } = read();
    if (value === null) values.delete(key);
    else values.set(key, String(value));
    const pairs = [...values].map(([name, text]) => `${encoded(name)}=${encoded(text)}`);
    const fragment = [anchor, ...pairs].filter((part) => part !== '').join('&');
    // A file's address may change in its fragment only; without one, "#" keeps the page where it is.
    history.replaceState(history.state, '', `#${fragment}`);
  }

  function onchange(callback) {
    window.addEventListener('hashchange', callback);
  }

  function toAnchor() {
    const { anchor, values } = read();
    const target = anchor && values.size ? document.getElementById(decoded(anchor)) : null;
    if (target) target.scrollIntoView(); // the browser looks for the whole fragment, and finds nothing
  }

  window.benchState = { get, set, onchange };
  window.addEventListener('hashchange', toAnchor);
  document.addEventListener('DOMContentLoaded', toAnchor);
})();
