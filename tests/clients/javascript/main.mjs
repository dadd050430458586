// Lists, watches and runs a command; lists again when the first token has expired.

import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import assert from 'node:assert';
import { CoreV1Api, Exec, KubeConfig, Watch } from '@kubernetes/client-node';

const config = new KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(CoreV1Api);

const pods = await core.listNamespacedPod({ namespace: 'team' });
pods.items.forEach((pod) => console.log(pod.metadata.name));

await new Promise((resolve, reject) => {
  const request = new Watch(config).watch('/api/v1/namespaces/team/configmaps', {}, async (type, object) => {
    console.log(type, object.metadata.name);
    if (type === 'MODIFIED') {
      (await request).abort();
      resolve();
    }
  }, reject);
  request.catch(reject);
});

async function exec(word) {
  const [stdout, output] = [new PassThrough(), []];
  stdout.on('data', (chunk) => output.push(chunk));
  await new Promise((resolve, reject) => {
    new Exec(config).exec('team', 'web', 'main', ['echo', word], stdout, process.stderr, null, false, resolve).catch(reject);
  });
  return Buffer.concat(output).toString();
}
assert.equal(await exec('hello'), 'hello\n');

console.log('wait');
await once(process.stdin, 'data');
const again = await core.listNamespacedPod({ namespace: 'team' });
assert.deepEqual(again.items.map((pod) => pod.metadata.name), ['web']);
assert.equal(await exec('again'), 'again\n');
process.exit(0);
