import { useCallback, useState } from 'react';

const PREFIX = 'tidemark.draft.';

/**
 * useDraft is state that outlives the page's reload, a login that ran out and a hub that
 * went away: it is kept in this tab until it is dropped. A key names what is edited.
 */
export function useDraft<T>(key: string, initial: T): [T, (v: T) => void, () => void] {
  const [at, setAt] = useState(key);
  const [value, setValue] = useState<T>(() => read(key, initial));
  if (at !== key) {
    setAt(key);
    setValue(read(key, initial));
  }
  const put = useCallback(
    (v: T) => {
      setValue(v);
      try {
        sessionStorage.setItem(PREFIX + key, JSON.stringify(v));
      } catch {
        // Storage that is full or forbidden: the draft lives as long as the page.
      }
    },
    [key],
  );
  const drop = useCallback(() => {
    sessionStorage.removeItem(PREFIX + key);
    setValue(initial);
  }, [key]);
  return [value, put, drop];
}

function read<T>(key: string, initial: T): T {
  try {
    const s = sessionStorage.getItem(PREFIX + key);
    return s === null ? initial : (JSON.parse(s) as T);
  } catch {
    return initial;
  }
}
