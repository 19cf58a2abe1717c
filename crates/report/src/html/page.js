// Search and keys. Without this the page says the same.
(() => {
  const main = document.querySelector('main'), keys = document.createElement('form');
  keys.className = 'keys';
  keys.setAttribute('role', 'search');
  keys.innerHTML = '<label for="search">Search</label><input id="search" type="search" autocomplete="off"><span role="status"></span>' +
    '<span class="soft"><kbd>/</kbd> search · <kbd>↑</kbd> <kbd>↓</kbd> from row to row · <kbd>c</kbd> along the critical path · <kbd>Esc</kbd> all rows</span>';
  main.querySelector('h1').after(keys);
  const input = keys.querySelector('input'), status = keys.querySelector('[role=status]'), detail = document.createElement('p');
  detail.className = 'detail mono';
  detail.setAttribute('role', 'status');
  main.append(detail);
  const rows = [...main.querySelectorAll('.row:not(.axis), tbody tr')];
  const text = row => (row.textContent + ' ' + [...row.querySelectorAll('[title]')].map(part => part.title).join(' ')).toLowerCase();
  const texts = new Map(rows.map(row => [row, text(row)]));
  const owner = new Map();
  let task = null;
  for (const part of main.querySelectorAll('h2, .task, .row')) {
    if (part.tagName === 'H2') task = null;
    else if (part.classList.contains('task')) task = part;
    else owner.set(part, task);
  }
  const shown = () => rows.filter(row => !row.hidden);
  const search = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const heads = new Set();
    for (const row of rows) {
      const head = owner.get(row);
      const all = texts.get(row) + (head ? ' ' + head.textContent.toLowerCase() : '');
      row.hidden = !words.every(word => all.includes(word));
      if (head && !row.hidden) heads.add(head);
    }
    for (const head of main.querySelectorAll('.task')) {
      head.hidden = words.length > 0 && !heads.has(head) && !words.every(word => head.textContent.toLowerCase().includes(word));
    }
    status.textContent = words.length ? shown().length + ' of ' + rows.length + ' rows' : '';
  };
  const describe = () => {
    const row = document.activeElement;
    const bars = rows.includes(row) ? [...row.querySelectorAll('.bar[title]')].map(bar => bar.title) : [];
    detail.textContent = bars.length > 3 ? bars.slice(0, 3).join('; ') + '; …' : bars.join('; ');
  };
  const go = row => {
    if (!row) return;
    for (const other of rows) other.tabIndex = -1;
    row.tabIndex = 0;
    row.focus();
    row.scrollIntoView({ block: 'nearest' });
  };
  rows.forEach((row, index) => {
    row.tabIndex = index ? -1 : 0;
    row.addEventListener('focus', describe);
    row.addEventListener('blur', describe);
  });
  input.addEventListener('input', search);
  keys.addEventListener('submit', event => { event.preventDefault(); go(shown()[0]); });
  addEventListener('keydown', event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const visible = shown(), at = visible.indexOf(document.activeElement), typing = document.activeElement === input;
    const next = (from, step) => visible[Math.min(Math.max(from + step, 0), visible.length - 1)];
    const moves = {
      ArrowDown: () => go(next(at, 1)),
      ArrowUp: () => (at > 0 ? go(next(at, -1)) : input.focus()),
      Home: () => go(visible[0]),
      End: () => go(visible.at(-1)),
      c: () => go(visible.slice(at + 1).concat(visible).find(row => row.classList.contains('critical'))),
      '/': () => input.focus(),
      Escape: () => { input.value = ''; search(); input.focus(); },
    };
    const move = moves[event.key];
    if (!move || (typing && ['Home', 'End', 'c', '/', 'ArrowUp'].includes(event.key))) return;
    event.preventDefault();
    move();
    // A window without the focus sends no focus events.
    describe();
  });
})();
