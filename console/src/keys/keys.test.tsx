// @vitest-environment happy-dom
import { act, type ReactNode } from 'react';
import { createRoot } from 'react-dom/client';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { isTaken, press, startKeys, useKeys } from './keys';

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;
let stop: () => void;
let root: ReturnType<typeof createRoot>;
beforeEach(() => {
  document.body.innerHTML = '<div id="r"></div><input id="i"><input id="c" type="checkbox"><a id="a" href="#">x</a>';
  root = createRoot(document.getElementById('r')!);
  stop = startKeys();
});
afterEach(() => {
  act(() => root.unmount());
  stop();
});
const show = (node: ReactNode) => act(() => root.render(node));
const stroke = (key: string, on: EventTarget = document.body) => on.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));

function Bound({ run, keys }: { run: () => void; keys: string }) {
  useKeys('t', [{ keys, label: 'l', run }]);
  return null;
}

describe('keys', () => {
  it('run what is bound, also by two strokes', () => {
    const one = vi.fn();
    const two = vi.fn();
    show([<Bound key="1" run={one} keys="j, ArrowDown" />, <Bound key="2" run={two} keys="g f" />]);
    stroke('j');
    stroke('ArrowDown');
    expect(one).toHaveBeenCalledTimes(2);
    stroke('f');
    expect(two).not.toHaveBeenCalled();
    stroke('g');
    stroke('f');
    expect(two).toHaveBeenCalledOnce();
  });
  it('forget a first stroke after a while', () => {
    show(<Bound run={vi.fn()} keys="g f" />);
    expect(press('g', 0)).toBeUndefined();
    expect(press('f', 5_000)).toBeUndefined();
  });
  it('leave what is typed alone, but not a checkbox', () => {
    const run = vi.fn();
    show(<Bound run={run} keys="x" />);
    stroke('x', document.getElementById('i')!);
    expect(run).not.toHaveBeenCalled();
    stroke('x', document.getElementById('c')!);
    expect(run).toHaveBeenCalledOnce();
  });
  it('leave Enter to links, and combinations to the browser', () => {
    const target = document.getElementById('a');
    const at = (key: string, more = {}) => isTaken({ key, ctrlKey: false, metaKey: false, altKey: false, target, ...more });
    expect(at('Enter')).toBe(true);
    expect(at('j')).toBe(false);
    expect(at('r', { ctrlKey: true })).toBe(true);
  });
  it('end with the component', () => {
    const run = vi.fn();
    show(<Bound run={run} keys="j" />);
    show(null);
    stroke('j');
    expect(run).not.toHaveBeenCalled();
  });
});
