import { expect, test } from 'vitest';
import { open } from '../browser';
import { cast, poison } from '../cast';
import { look } from '../look';
import { enrol, join, sql } from '../stage';

export function enrolling() {
  test('a device is enrolled by a token, and is seen to arrive', async () => {
    const page = cast.ana;
    await open(page, '#/enrol');
    await page.getByLabel('Name').fill('Berlin');
    await look(page, 'enrol');
    await page.getByRole('button', { name: 'Make the token' }).click();
    const token = await page.locator('pre[aria-label="Token"]').innerText();
    await page.getByRole('img', { name: 'The token as a QR code' }).waitFor();
    await look(page, 'enrol-token', { guide: 'light' });
    await join('berlin', token);
    await page.getByText('Berlin has its data.').waitFor();
    expect(await page.getByText(token).count()).toBe(0);
    await look(page, 'enrol-arrived');
    expect(await sql('berlin', 'SELECT count(*) FROM patient')).toBe('4');
  });

  test('what somebody put into names and rows stays text', async () => {
    await enrol('oslo');
    const page = cast.ana;
    await open(page, '#/enrol');
    await page.getByLabel('Name').fill(poison);
    await page.getByRole('button', { name: 'Make the token' }).click();
    await page.getByRole('heading', { name: poison }).waitFor();
    await sql('oslo', `INSERT INTO patient VALUES ('px', '${poison.replaceAll("'", "''")}', '1', NULL, 'x'); INSERT INTO room VALUES ('rx', '${poison.replaceAll("'", "''")}');`);
    await open(page, '#/fleet');
    await page.getByRole('link', { name: poison }).waitFor();
    await page.getByText('Everybody’s work is safe.').waitFor();
    await look(page, 'fleet');
  });

  test('tables, rows, a row’s history, digests and schemas are there to read', async () => {
    const page = cast.bo;
    await open(page, '#/data');
    await page.getByRole('link', { name: 'patient' }).first().waitFor();
    await look(page, 'data');
    await open(page, '#/data/patient');
    await page.getByText(poison).first().waitFor();
    await look(page, 'data-rows');
    await open(page, '#/data/patient/tpx');
    await page.getByText('Who wrote what, newest first').waitFor();
    await page.getByText('oslo').first().waitFor();
    await look(page, 'data-history');
    for (const tab of ['verify', 'digests', 'schemas']) {
      await open(page, `#/data?tab=${tab}`);
      await page.locator('main h1').first().waitFor();
      await page.waitForTimeout(600);
      await look(page, `data-${tab}`);
    }
  });
}
