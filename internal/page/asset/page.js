// Renews the page in its place, so that nobody has to, and says so when the agent is gone.
'use strict';
(() => {
  const every = 2000;
  const at = (id) => document.getElementById(id);
  const stops = () => [...document.querySelectorAll('main a, main summary, main pre')];

  function renew(next) {
    const main = document.querySelector('main');
    const fresh = next.querySelector('main');
    if (!fresh) return;
    at('as-of').replaceWith(next.getElementById('as-of'));
    document.title = next.title;
    if (main.dataset.say !== fresh.dataset.say) {
      main.dataset.say = fresh.dataset.say;
      at('said').textContent = fresh.dataset.say;
    }
    const picked = getSelection();
    if (!picked.isCollapsed && main.contains(picked.anchorNode)) return; // somebody is copying
    if (main.innerHTML === fresh.innerHTML) return;
    const open = [...main.querySelectorAll('details[open]')].map((d) => d.id);
    const focus = stops().indexOf(document.activeElement);
    main.replaceChildren(...fresh.childNodes);
    for (const id of open) if (at(id)) at(id).open = true;
    if (focus >= 0) stops()[focus]?.focus({ preventScroll: true });
  }

  async function look() {
    if (!document.hidden) {
      try {
        const r = await fetch('/', { cache: 'no-store', redirect: 'error', signal: AbortSignal.timeout(20000) });
        if (!r.ok) throw new Error(r.statusText);
        renew(new DOMParser().parseFromString(await r.text(), 'text/html'));
        at('away').hidden = true;
      } catch {
        at('away').hidden = false;
      }
    }
    clearTimeout(timer); // one that was set meanwhile: there is only ever one
    timer = setTimeout(look, every);
  }

  let timer = setTimeout(look, every);
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return;
    clearTimeout(timer);
    timer = setTimeout(look, 0);
  });
})();
