// Whatever an item holds becomes text, never markup: all nodes are made by `make`.
const $ = (id) => document.getElementById(id);
const liked = new Map(); // id -> title, in the order of clicks
let user = null;
let round = 0;

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

async function ask(path, body) {
  const options = body && {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  };
  const response = await fetch(path, options);
  const content = await response.json();
  if (!response.ok) throw new Error(content.detail);
  if (content.version) $('version').textContent = content.version;
  return content;
}

function picture(item) {
  const blank = () => make('div', { className: 'blank', ariaHidden: 'true' }, item.title.slice(0, 1));
  if (!item.picture) return blank();
  const image = make('img', { src: item.picture, alt: item.title, loading: 'lazy' });
  image.addEventListener('error', () => image.replaceWith(blank()));
  return image;
}

function button(text, label, deed, pressed) {
  const node = make('button', { type: 'button', ariaLabel: label }, text);
  if (pressed !== undefined) node.ariaPressed = String(pressed);
  node.addEventListener('click', deed);
  return node;
}

function card(item) {
  const isLiked = liked.has(item.item);
  const fields = Object.entries(item.fields ?? {})
    .filter(([, value]) => value !== item.title)
    .map(([name, value]) => `${name}: ${value}`);
  const words = make('div', { className: 'words' }, make('h3', { dir: 'auto' }, item.title));
  if (fields.length) words.append(make('p', { dir: 'auto' }, fields.slice(0, 3).join(' · ')));
  if (item.because) {
    const text = `Because you liked ${item.because.title}`;
    words.append(make('p', { className: 'because', dir: 'auto' }, text));
  }
  const deeds = make(
    'div',
    { className: 'deeds' },
    button(isLiked ? 'Liked' : 'Like', `Like ${item.title}`, () => toggle(item), isLiked),
    button('Similar', `Similar to ${item.title}`, () => showSimilar(item)),
  );
  const node = make('li', { className: 'card' }, picture(item), words, deeds);
  node.dataset.item = item.item;
  return node;
}

function show(list, items) {
  $(list).replaceChildren(...items.map(card));
}

function say(text) {
  $('status').textContent = text;
}

async function attempt(deed) {
  try {
    await deed();
  } catch (error) {
    say(error.message);
  }
}

function showLiked() {
  $('liked-part').hidden = !liked.size;
  $('liked').replaceChildren(
    ...[...liked].map(([item, title]) =>
      make('li', {}, button(`${title} ×`, `Like ${title} no more`, () => toggle({ item, title }))),
    ),
  );
  for (const node of document.querySelectorAll('.card')) {
    const key = [...liked.keys()].some((item) => String(item) === node.dataset.item);
    const like = node.querySelector('button');
    like.ariaPressed = String(key);
    like.textContent = key ? 'Liked' : 'Like';
  }
}

function toggle(item) {
  if (liked.has(item.item)) liked.delete(item.item);
  else liked.set(item.item, item.title);
  showLiked();
  return attempt(advise);
}

async function advise() {
  const mine = ++round; // Only the answer of the last click is shown.
  $('advice-part').hidden = !liked.size && user === null;
  if ($('advice-part').hidden) return;
  const found = await ask('recommend', { user, liked: [...liked.keys()], k: 12 });
  if (mine !== round) return;
  $('advice-title').textContent =
    found.reason === 'new user' ? 'Popular items, as nothing is known of this user' : 'Recommended for you';
  show('advice', found.items);
  say(found.items.length ? '' : 'No item is left to recommend.');
}

function showSimilar(item) {
  return attempt(async () => {
    const found = await ask(`similar/${encodeURIComponent(item.item)}?k=6`);
    $('similar-title').textContent = `Similar to ${item.title}`;
    show('similar', found.items);
    $('similar-part').hidden = false;
    $('similar-title').focus();
  });
}

async function start() {
  const found = await ask('recommend', { k: 24 });
  $('items-title').textContent = 'Popular items';
  show('items', found.items);
}

$('search').addEventListener('submit', (event) => {
  event.preventDefault();
  const text = $('text').value.trim();
  attempt(async () => {
    if (!text) return start();
    const found = await ask(`items?search=${encodeURIComponent(text)}&limit=24`);
    $('items-title').textContent = `Titles with “${text}”`;
    show('items', found.items);
    say(found.items.length ? `${found.items.length} items found.` : 'No title has this text.');
  });
});

$('visitor').addEventListener('submit', (event) => {
  event.preventDefault();
  user = $('user').value.trim() || null;
  attempt(advise);
});

$('close-similar').addEventListener('click', () => {
  $('similar-part').hidden = true;
  $('items-title').focus();
});

attempt(start);
