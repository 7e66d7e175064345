// Two users of one tenant use the guide's client; what happens to them is
// reported, event by event.

import { Client } from './guide-client.mjs';

const patience = 60_000; // ms, for each step

// once resolves with the data of the next event of this kind.
function once(client, event) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${event} within ${patience} ms`)), patience);
    client.on(event, (data) => {
      clearTimeout(timer);
      resolve(data);
    });
  });
}

export async function run({ base, tenant, annToken, bobToken, badToken }, report) {
  const ann = new Client(annToken, tenant, base);
  const bob = new Client(bobToken, tenant, base);
  const channel = `tenant:${tenant}:general`;
  const bobHears = [];
  bob.on('channel_message', (data) => bobHears.push(data));

  const joined = [once(ann, 'channel_joined'), once(bob, 'channel_joined')];
  const welcomed = once(bob, 'connection');
  ann.connect();
  bob.connect();
  for (const done of joined) report({ event: 'joined', data: await done });
  report({ event: 'connection', data: await welcomed });

  const news = once(ann, 'channel_joined');
  ann.joinChannel('public:news');
  report({ event: 'joined', data: await news });

  const message = once(ann, 'channel_message');
  bob.sendMessage(channel, { text: 'hello ann, 你好' });
  report({ event: 'message', data: await message });

  const refusal = once(bob, 'error');
  bob.joinChannel('tenant:somebody-else:general');
  report({ event: 'refused', data: await refusal });

  const subscribed = once(ann, 'notifications_subscribed');
  const notification = once(ann, 'notification');
  const event = once(ann, 'order_shipped');
  ann.subscribeToNotifications();
  report({ event: 'subscribed', data: await subscribed }); // the test sends now
  report({ event: 'notification', data: await notification });
  report({ event: 'event', data: await event });

  const stranger = new Client(badToken, tenant, base);
  const closed = once(stranger, 'close');
  stranger.connect();
  report({ event: 'closed', data: await closed });

  report({ event: 'done', data: { bobHears } });
  ann.socket.close(1000);
  bob.socket.close(1000);
}
