import { Button } from '@mantine/core';
import { useState } from 'react';

/** Copy puts a text on the clipboard and says so. */
export function Copy({ text, what }: { text: string; what: string }) {
  const [done, setDone] = useState('');
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setDone('Copied');
    } catch {
      setDone('Select it and copy');
    }
    setTimeout(() => setDone(''), 2_000);
  };
  return (
    <Button variant="default" size="compact-sm" onClick={() => void copy()} aria-label={`Copy the ${what}`}>
      {done || 'Copy'}
    </Button>
  );
}
