import { expect, test } from 'vitest';
import { open } from '../browser';
import { cast } from '../cast';
import { look } from '../look';

export function wrong() {
  test.each([
    ['#/device/00000000-0000-4000-8000-000000000000', 'alert'],
    ['#/device/not-an-id', 'alert'],
    ['#/conflicts/nothing', 'alert'],
    ['#/quarantine/nothing', 'alert'],
    ['#/data/nothing', 'alert'],
    ['#/data/patient/tnobody', /The row is not there|no writes/],
    ['#/data/patient/zz', /names no row/],
    ['#/nowhere', /There is no such page/],
    ['#/fleet?q=zzz', /No device matches/],
    ['#/fleet?sort=nonsense&level=purple', /Oslo|oslo/],
    ['#/conflicts?q=zzz', /No conflict matches/],
    ['#/quarantine?q=zzz', /Nothing matches/],
    ['#/people?tab=audit&who=zzz', /No entries match/],
  ])('%s says what is wrong', async (address, words) => {
    await open(cast.ana, address);
    const main = cast.ana.locator('main');
    if (typeof words === 'string') {
      const said = await main.getByRole('alert').innerText();
      expect(said).toMatch(/no such|not|no /i);
      expect(said).not.toMatch(/internal|undefined|null|Try again by|syntax/i);
      console.log(`${address}: ${said.replaceAll('\n', ' ')}`);
    } else await main.getByText(words).first().waitFor();
    if (!address.includes('zzz')) await look(cast.ana, 'wrong' + address.replace(/[^a-z]+/gi, '-').slice(0, 30).replace(/-$/, ''), { once: true });
  });

  test('an edit of what somebody else changed meanwhile is refused, and kept', async () => {
    const [ana, bo] = [cast.ana, cast.bo];
    for (const page of [ana, bo]) {
      await open(page, '#/fleet');
      await page.locator('.devices').getByRole('link', { name: 'oslo', exact: true }).click();
      await page.getByRole('button', { name: 'More', exact: true }).click();
      await page.getByRole('menuitem', { name: 'Rename' }).click();
      await page.getByRole('dialog').getByLabel('Name').waitFor();
    }
    await ana.getByRole('dialog').getByLabel('Name').fill('Oslo, ground floor');
    await bo.getByRole('dialog').getByLabel('Name').fill('Oslo 2');
    await bo.getByRole('dialog').getByRole('button', { name: 'Rename' }).click();
    await bo.getByRole('heading', { name: 'Oslo 2' }).waitFor();
    await ana.getByRole('dialog').getByRole('button', { name: 'Rename' }).click();
    const said = ana.getByRole('dialog').getByRole('alert');
    await said.waitFor();
    await look(ana, 'stale');
    expect(await said.innerText()).toMatch(/Bo|changed/);
    expect(await ana.getByRole('dialog').getByLabel('Name').inputValue()).toBe('Oslo, ground floor');
    await ana.keyboard.press('Escape');
    await ana.getByRole('heading', { name: 'Oslo 2' }).waitFor();
  });

  test('a viewer sees everything and is offered nothing', async () => {
    const page = cast.vi;
    await open(page, '#/fleet');
    await page.locator('.devices').getByRole('link', { name: 'Berlin', exact: true }).click();
    await page.getByRole('region', { name: 'Timeline' }).waitFor();
    for (const name of ['Pause', 'Ask to sync', 'Ask to verify', 'More']) expect(await page.locator('main').getByRole('button', { name, exact: true }).count(), name).toBe(0);
    await look(page, 'viewer-device');
    await open(page, '#/conflicts');
    await page.getByRole('link', { name: /patient p1/ }).first().click();
    await page.getByText('The row now').waitFor();
    for (const name of ['Undo', 'Accept']) expect(await page.getByRole('button', { name, exact: true }).count(), name).toBe(0);
    expect(await page.getByRole('navigation', { name: 'Pages', exact: true }).getByRole('link', { name: 'Enrol' }).count()).toBe(0);
    await open(page, '#/enrol');
    await page.getByText('Enrolling needs the role operator.').waitFor();
    await open(page, '#/people');
    await page.getByRole('region', { name: 'Audit' }).waitFor();
    expect(await page.getByRole('button', { name: 'Invite' }).count()).toBe(0);
    // The hub says no as well: a page that is made to ask gets nowhere.
    const status = await page.evaluate(async () => {
      const r = await fetch('/tidemark.admin.v1.Fleet/Pause', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"id":"x","reason":"y"}' });
      return r.status;
    });
    expect(status).toBe(403);
  });
}
