import { describe, expect, it } from 'vitest';
import { go, href, parseRoute, setQuery } from './router';

describe('addresses', () => {
  it('bring everything back', () => {
    const r = parseRoute(href(['conflicts', 'a/b ?#'], { q: 'x & y', level: ['alarm', 'warning'], none: '', absent: undefined }));
    expect(r.parts).toEqual(['conflicts', 'a/b ?#']);
    expect(r.query.get('q')).toBe('x & y');
    expect(r.query.getAll('level')).toEqual(['alarm', 'warning']);
    expect([...r.query.keys()]).not.toContain('none');
  });
  it('survive what is mistyped', () => {
    expect(parseRoute('').parts).toEqual([]);
    expect(parseRoute('#/%E0%A4%A/x').parts).toEqual(['%E0%A4%A', 'x']);
  });
  it('change one filter and keep the others', () => {
    go('#/fleet?level=alarm&level=ok&q=till');
    setQuery({ q: '' });
    expect(window.location.hash).toBe('#/fleet?level=alarm&level=ok');
  });
});
