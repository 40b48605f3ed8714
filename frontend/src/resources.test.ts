import { Resources } from './resources';

test('a question is asked once while its answer is fresh', async () => {
  const getResource = jest.fn().mockResolvedValue([{ schema: 'public', name: 'channels' }]);
  const resources = new Resources(getResource);
  const both = await Promise.all([resources.tables(), resources.tables()]);
  expect(both[0]).toEqual([{ schema: 'public', name: 'channels' }]);
  expect(getResource).toHaveBeenCalledTimes(1);
});

test('different questions are different', async () => {
  const getResource = jest.fn().mockResolvedValue([]);
  const resources = new Resources(getResource);
  await resources.columns({ schema: 'public', name: 'a' });
  await resources.columns({ schema: 'public', name: 'b' });
  expect(getResource.mock.calls).toEqual([
    ['columns', { schema: 'public', table: 'a' }],
    ['columns', { schema: 'public', table: 'b' }],
  ]);
});

test('a question that failed can be asked again at once', async () => {
  const getResource = jest.fn().mockRejectedValueOnce(new Error('away')).mockResolvedValueOnce(['channel']);
  const resources = new Resources(getResource);
  await expect(resources.tags()).rejects.toThrow('away');
  expect(await resources.tags()).toEqual(['channel']);
});

test('an old answer is asked for again', async () => {
  const now = jest.spyOn(Date, 'now').mockReturnValue(0);
  try {
    const getResource = jest.fn().mockResolvedValue(['channel']);
    const resources = new Resources(getResource);
    await resources.tags();
    now.mockReturnValue(59_000);
    await resources.tags();
    expect(getResource).toHaveBeenCalledTimes(1);
    now.mockReturnValue(61_000);
    await resources.tags();
    expect(getResource).toHaveBeenCalledTimes(2);
  } finally {
    now.mockRestore();
  }
});

test('functions come with the names they are kept under', async () => {
  const functions = { scale: { group: 'Transform', params: [] } };
  const resources = new Resources(jest.fn().mockResolvedValue({ functions }));
  expect(await resources.functions()).toEqual([{ name: 'scale', group: 'Transform', params: [] }]);
});
