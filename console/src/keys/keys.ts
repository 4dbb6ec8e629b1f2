import { useEffect, useRef, useSyncExternalStore } from 'react';

/** A key and what it does here. Two strokes are written with a blank: "g f". */
export interface Binding {
  keys: string;
  label: string;
  run: () => void;
}
interface Layer {
  title: string;
  bindings: Binding[];
}

const layers: Layer[] = [];
let version = 0;
const changed = new Set<() => void>();
function bump() {
  version++;
  changed.forEach((f) => f());
}

/** useKeys binds keys for as long as the component is there; later ones go first. */
export function useKeys(title: string, bindings: Binding[], enabled = true) {
  const latest = useRef(bindings);
  useEffect(() => {
    latest.current = bindings;
  });
  const names = bindings.map((b) => b.keys + b.label).join('|');
  useEffect(() => {
    if (!enabled) return;
    const layer: Layer = {
      title,
      bindings: latest.current.map((b, i) => ({ ...b, run: () => latest.current[i]?.run() })),
    };
    layers.push(layer);
    bump();
    return () => {
      layers.splice(layers.indexOf(layer), 1);
      bump();
    };
  }, [title, names, enabled]);
}

/** useBindings lists what is bound now, for the page that shows it. */
export function useBindings(): Layer[] {
  useSyncExternalStore(
    (f) => {
      changed.add(f);
      return () => changed.delete(f);
    },
    () => version,
  );
  return layers;
}

const TYPING = 'input, textarea, select, [contenteditable=true]';
const SEQUENCE = 900; // ms between two strokes

/** Whether a key belongs to what has the focus rather than to the page. */
export function isTaken(e: Pick<KeyboardEvent, 'key' | 'ctrlKey' | 'metaKey' | 'altKey' | 'target'>): boolean {
  if (e.ctrlKey || e.metaKey || e.altKey) return true;
  const el = e.target instanceof Element ? e.target : null;
  if (!el) return false;
  if (el.closest('[role=dialog], [role=menu]')) return true;
  const box = el.closest('input[type=checkbox], input[type=radio]');
  if (!box && el.closest(TYPING)) return true;
  if ((e.key === 'Enter' || e.key === ' ') && el.closest('a, button, summary, input')) return true;
  return e.key.startsWith('Arrow') && !!el.closest('[role=tablist], [role=radiogroup], input[type=radio]');
}

let first = '';
let firstAt = 0;

/** press finds what a stroke does; undefined: nothing here. */
export function press(key: string, at: number): Binding | undefined {
  const name = key === ' ' ? 'Space' : key;
  const both = first && at - firstAt < SEQUENCE ? `${first} ${name}` : '';
  first = '';
  for (let i = layers.length - 1; i >= 0; i--) {
    const b = layers[i]!.bindings;
    const hit = (both && b.find((x) => x.keys === both)) || b.find((x) => x.keys.split(', ').includes(name));
    if (hit) return hit;
  }
  if (layers.some((l) => l.bindings.some((b) => b.keys.startsWith(name + ' ')))) {
    first = name;
    firstAt = at;
  }
  return undefined;
}

export function startKeys(): () => void {
  // Looked at before anybody acts on the key: the Escape that closes a dialog is not also the page's.
  let covered = false;
  const before = () => {
    covered = document.querySelector('[role=dialog][aria-modal=true], [role=menu]') !== null;
  };
  const on = (e: KeyboardEvent) => {
    if (e.defaultPrevented || isTaken(e) || covered) return;
    const hit = press(e.key, e.timeStamp);
    if (hit) {
      e.preventDefault();
      hit.run();
    }
  };
  window.addEventListener('keydown', before, true);
  document.addEventListener('keydown', on);
  return () => {
    window.removeEventListener('keydown', before, true);
    document.removeEventListener('keydown', on);
  };
}
