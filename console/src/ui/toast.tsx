import { useEffect, useSyncExternalStore } from 'react';

interface Toast {
  id: number;
  text: string;
}
let toasts: Toast[] = [];
let next = 1;
const changed = new Set<() => void>();
function set(t: Toast[]) {
  toasts = t;
  changed.forEach((f) => f());
}

/** say tells in passing what was done. Faults are never told this way: they stay where they happened. */
export function say(text: string) {
  set([...toasts.slice(-2), { id: next++, text }]);
}

export function Toasts() {
  const list = useSyncExternalStore(
    (f) => {
      changed.add(f);
      return () => changed.delete(f);
    },
    () => toasts,
  );
  return (
    <div className="toasts" role="status" aria-live="polite">
      {list.map((t) => (
        <One key={t.id} t={t} />
      ))}
    </div>
  );
}

function One({ t }: { t: Toast }) {
  useEffect(() => {
    const timer = setTimeout(() => set(toasts.filter((x) => x.id !== t.id)), 5_000);
    return () => clearTimeout(timer);
  }, [t.id]);
  return <div className="toast fade">{t.text}</div>;
}
