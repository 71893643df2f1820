// SPDX-License-Identifier: MIT
// Shows the server's OpenAPI document with RapiDoc. A token given to its form stays in this page's memory.
const base = new URL('../../', import.meta.url);
const dark = matchMedia('(prefers-color-scheme: dark)');
const told = document.getElementById('told');

// where it is narrow RapiDoc has no list of operations: they stand one below another then
const narrow = matchMedia('(max-width: 767px)');
const layout = () => ({ 'render-style': narrow.matches ? 'view' : 'focused' });

const looks = () => (dark.matches
  ? { theme: 'dark', 'bg-color': '#121217', 'text-color': '#ecebe7', 'nav-bg-color': '#15151a', 'primary-color': '#f0b35a' }
  : { theme: 'light', 'bg-color': '#f6f5f1', 'text-color': '#1b1a1f', 'nav-bg-color': '#f0eee9', 'primary-color': '#955700' });

const fixed = {
  'show-header': 'false', 'allow-spec-url-load': 'false', 'allow-spec-file-load': 'false',
  'allow-server-selection': 'false', 'allow-search': 'true', 'load-fonts': 'false', 'schema-style': 'table',
  'regular-font': 'ui-sans-serif, system-ui, sans-serif', 'mono-font': 'ui-monospace, Menlo, Consolas, monospace',
  'show-method-in-nav-bar': 'as-colored-text', 'use-path-in-nav-bar': 'true', 'persist-auth': 'false', 'font-size': 'default', 'show-components': 'false',
};

function apply(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
}

/** RapiDoc has a field for text, and none for bytes of any type. */
function asText(content) {
  if (!content?.['*/*']) return;
  content['text/plain'] = { ...content['*/*'], schema: { type: 'string' } };
  delete content['*/*'];
}

/** RapiDoc takes an example's members for examples of their own, and stumbles over null. */
function nameExamples(part) {
  if (part === null || typeof part !== 'object') return;
  for (const content of Object.values(part.content ?? {})) {
    if (content.example === undefined) continue;
    content.examples = { Example: { value: content.example } };
    delete content.example;
  }
  Object.values(part).forEach(nameExamples);
}

try {
  const answer = await fetch(new URL('openapi.json', base), { credentials: 'omit' });
  if (!answer.ok) throw new Error(`openapi.json: ${answer.status}`);
  const document_ = await answer.json();
  document_.servers = [{ url: base.href.replace(/\/$/, '') }]; // as this page is reached, proxies in front included
  for (const item of Object.values(document_.paths)) {
    delete item.head; // each GET has one
    for (const { requestBody } of Object.values(item)) asText(requestBody?.content);
  }
  nameExamples(document_);
  await customElements.whenDefined('rapi-doc');
  const element = document.createElement('rapi-doc');
  apply(element, { ...fixed, ...layout(), ...looks() });
  narrow.addEventListener('change', () => apply(element, layout()));
  dark.addEventListener('change', () => apply(element, looks()));
  document.getElementById('main').replaceChildren(element);
  element.loadSpec(document_);
} catch (error) {
  told.textContent = `The document cannot be shown: ${error.message}`;
}
