// A client of the broker, as small as one can be: it takes messages and finishes them.
import net from 'node:net';

const MESSAGE = 2;
const HEARTBEAT = '_heartbeat_';

/** Subscribes and answers `SUB` before it returns; `finish` says whether messages are finished. */
export async function consume(address, topic, channel, { identity = {}, finish = true } = {}) {
  const [host, port] = address.split(':');
  const socket = net.connect(Number(port), host);
  const told = { heartbeat_interval: 60000, ...identity };
  const body = Buffer.from(JSON.stringify(told));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  socket.write(Buffer.concat([Buffer.from('  V2IDENTIFY\n'), length, body]));
  socket.write(`SUB ${topic} ${channel}\nRDY 100\n`);
  let answers = 0;
  await new Promise((resolve, reject) => {
    socket.on('error', reject);
    onFrames(socket, (type, data) => {
      if (type === MESSAGE) {
        if (finish) socket.write(`FIN ${data.subarray(10, 26)}\n`);
      } else if (type === 0 && data.toString() === HEARTBEAT) {
        socket.write('NOP\n');
      } else if (type !== 0) {
        reject(new Error(`${topic}/${channel}: ${data}`));
      } else {
        answers += 1;
        if (answers === 2) resolve();
      }
    });
  });
  // The test ends some nodes; their connections end with them.
  socket.removeAllListeners('error').on('error', () => {});
  return socket;
}

function onFrames(socket, frame) {
  let rest = Buffer.alloc(0);
  socket.on('data', (data) => {
    rest = Buffer.concat([rest, data]);
    while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE(0)) {
      const size = rest.readUInt32BE(0);
      frame(rest.readUInt32BE(4), rest.subarray(8, 4 + size));
      rest = rest.subarray(4 + size);
    }
  });
}
