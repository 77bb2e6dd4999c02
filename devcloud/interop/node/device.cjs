// A device made with AWS's own SDK for Node: it walks through the life of a named shadow and tells, in one JSON line for
// each step, what came back. TestNodeSDK compares the lines. Its one argument is JSON: host, port, thing, shadow, the
// files ca, cert and key, and protocol: mqtt311 (IotShadowClient, a subscription for each topic) or mqtt5
// (IotShadowClientv2, which waits for the answer to each request). Exits 1 if a step could not be taken.
'use strict';

const { iot, iotshadow, mqtt, mqtt5 } = require('aws-iot-device-sdk-v2');

const patienceMs = 20000; // for one answer; the test has a limit for all of them
const args = JSON.parse(process.argv[2]);
const named = { thingName: args.thing, shadowName: args.shadow };
const forbidden = '$aws/things/another/shadow/name/' + args.shadow;

function tell(step, fields) {
  process.stdout.write(JSON.stringify({ step, ...fields }) + '\n');
}

// within fails, naming what was waited for, instead of waiting for ever.
function within(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('waited in vain for ' + what)), patienceMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// mailbox keeps what has come until somebody asks for it.
class Mailbox {
  items = [];
  askers = [];
  put(item) {
    const asker = this.askers.shift();
    if (asker) asker(item);
    else this.items.push(item);
  }
  take(what) {
    if (this.items.length > 0) return Promise.resolve(this.items.shift());
    return within(what, new Promise((resolve) => this.askers.push(resolve)));
  }
}

// Either device has the same methods. get, update and remove resolve to { accepted } or { rejected }.
class Device311 {
  answers = { get: new Mailbox(), update: new Mailbox(), delete: new Mailbox() };
  deltas = new Mailbox();

  async connect() {
    const config = iot.AwsIotMqttConnectionConfigBuilder.new_mtls_builder_from_path(args.cert, args.key)
      .with_certificate_authority_from_path(undefined, args.ca)
      .with_client_id(args.thing).with_endpoint(args.host).with_port(args.port).with_clean_session(true);
    this.connection = new mqtt.MqttClient().new_connection(config.build());
    this.lost = new Promise((resolve) => this.connection.on('interrupt', resolve));
    this.connection.on('error', () => {}); // the operations fail, too
    await within('the connection', this.connection.connect());
    this.shadow = new iotshadow.IotShadowClient(this.connection);
  }

  async subscribe() {
    const into = (box, kind) => (error, message) => box.put(error ? { error: String(error) } : { [kind]: message });
    const { shadow, answers } = this;
    const granted = await Promise.all([
      shadow.subscribeToGetNamedShadowAccepted(named, mqtt.QoS.AtLeastOnce, into(answers.get, 'accepted')),
      shadow.subscribeToGetNamedShadowRejected(named, mqtt.QoS.AtLeastOnce, into(answers.get, 'rejected')),
      shadow.subscribeToUpdateNamedShadowAccepted(named, mqtt.QoS.AtLeastOnce, into(answers.update, 'accepted')),
      shadow.subscribeToUpdateNamedShadowRejected(named, mqtt.QoS.AtLeastOnce, into(answers.update, 'rejected')),
      shadow.subscribeToDeleteNamedShadowAccepted(named, mqtt.QoS.AtLeastOnce, into(answers.delete, 'accepted')),
      shadow.subscribeToDeleteNamedShadowRejected(named, mqtt.QoS.AtLeastOnce, into(answers.delete, 'rejected')),
      shadow.subscribeToNamedShadowDeltaUpdatedEvents(named, mqtt.QoS.AtLeastOnce,
        (error, delta) => this.deltas.put(error ? { error: String(error) } : delta)),
    ]);
    return granted.every((g) => !g.error_code && g.qos === mqtt.QoS.AtLeastOnce);
  }

  // own is the answer to this device's request: what others do to the shadow is told on the same topics.
  async own(box, what, token) {
    for (;;) {
      const answer = await box.take('the answer to ' + what);
      if ((answer.accepted || answer.rejected || {}).clientToken === token || answer.error) return answer;
    }
  }

  async get(request) {
    await this.shadow.publishGetNamedShadow(request, mqtt.QoS.AtLeastOnce);
    return this.own(this.answers.get, 'get', request.clientToken);
  }

  async update(request) {
    await this.shadow.publishUpdateNamedShadow(request, mqtt.QoS.AtLeastOnce);
    return this.own(this.answers.update, 'update', request.clientToken);
  }

  async remove(request) {
    await this.shadow.publishDeleteNamedShadow(request, mqtt.QoS.AtLeastOnce);
    return this.own(this.answers.delete, 'delete', request.clientToken);
  }

  async maySubscribe(filter) {
    const granted = await within('SUBACK', this.connection.subscribe(filter, mqtt.QoS.AtLeastOnce));
    return granted.qos !== 128; // MQTT 3.1.1's refusal
  }

  publishInto(topic) {
    this.connection.publish(topic, '{}', mqtt.QoS.AtLeastOnce).catch(() => {}); // there is no refusal in MQTT 3.1.1
  }

  close() {
    return this.connection.disconnect();
  }
}

class Device5 {
  deltas = new Mailbox();

  async connect() {
    const config = iot.AwsIotMqtt5ClientConfigBuilder.newDirectMqttBuilderWithMtlsFromPath(args.host, args.cert, args.key)
      .withCertificateAuthorityFromPath(undefined, args.ca).withPort(args.port)
      .withConnectProperties({ clientId: args.thing, keepAliveIntervalSeconds: 60 });
    this.client = new mqtt5.Mqtt5Client(config.build());
    this.lost = new Promise((resolve) => this.client.on('disconnection', resolve));
    this.client.on('error', () => {}); // the operations fail, too
    const connected = new Promise((resolve, reject) => {
      this.client.on('connectionSuccess', resolve);
      this.client.on('connectionFailure', (event) => reject(event.error));
    });
    this.client.start();
    await within('the connection', connected);
    this.shadow = iotshadow.IotShadowClientv2.newFromMqtt5(this.client, {
      maxRequestResponseSubscriptions: 6, maxStreamingSubscriptions: 1, operationTimeoutInSeconds: patienceMs / 1000,
    });
  }

  async subscribe() {
    this.stream = this.shadow.createNamedShadowDeltaUpdatedStream(named);
    this.stream.on('incomingPublish', (event) => this.deltas.put(event.message));
    const status = new Promise((resolve) => this.stream.on('subscriptionStatus', resolve));
    this.stream.open();
    return (await within('SUBACK', status)).type === 0; // SubscriptionEstablished
  }

  // answer brings the SDK's two ways of ending into one form.
  async answer(promise) {
    try {
      return { accepted: await promise };
    } catch (error) {
      if (!error.modeledError) throw error;
      return { rejected: error.modeledError };
    }
  }

  get(request) {
    return this.answer(this.shadow.getNamedShadow(request));
  }

  update(request) {
    return this.answer(this.shadow.updateNamedShadow(request));
  }

  remove(request) {
    return this.answer(this.shadow.deleteNamedShadow(request));
  }

  async maySubscribe(filter) {
    const suback = await within('SUBACK', this.client.subscribe({
      subscriptions: [{ topicFilter: filter, qos: mqtt5.QoS.AtLeastOnce }],
    }));
    return suback.reasonCodes[0] !== mqtt5.SubackReasonCode.NotAuthorized;
  }

  publishInto(topic) {
    this.client.publish({ topicName: topic, payload: '{}', qos: mqtt5.QoS.AtLeastOnce }).catch(() => {});
  }

  async close() {
    this.stream.close();
    this.shadow.close();
    const stopped = new Promise((resolve) => this.client.on('stopped', resolve));
    this.client.stop();
    await within('the end', stopped);
    this.client.close();
  }
}

// plain keeps of an answer what does not depend on the clock, nor on the client tokens, of which IotShadowClientv2
// makes its own.
function plain({ accepted, rejected, error }) {
  if (error) throw new Error(error);
  if (rejected) return { code: rejected.code, message: rejected.message };
  return { version: accepted.version, state: accepted.state };
}

async function main() {
  const device = args.protocol === 'mqtt5' ? new Device5() : new Device311();
  await device.connect();
  tell('subscribe', { granted: await device.subscribe() });
  tell('get missing', plain(await device.get({ ...named, clientToken: 'one' })));
  tell('report', plain(await device.update({ ...named, clientToken: 'two', state: { reported: { model: 'a' } } })));
  tell('conflict', plain(await device.update({ ...named, clientToken: 'three', version: 99, state: { reported: { model: 'x' } } })));
  tell('ready', {}); // now somebody else asks for model b
  const delta = await device.deltas.take('the delta');
  tell('delta', { version: delta.version, state: delta.state });
  tell('follow', plain(await device.update({ ...named, clientToken: 'four', state: { reported: { model: 'b', since: null } } })));
  tell('get', plain(await device.get({ ...named, clientToken: 'five' })));
  tell('delete', plain(await device.remove({ ...named, clientToken: 'six' })));
  tell('subscribe elsewhere', { granted: await device.maySubscribe(forbidden + '/get/accepted') });
  device.publishInto(forbidden + '/update');
  await within('the disconnection', device.lost);
  tell('publish elsewhere: disconnected', {});
  await device.close();
}

main().then(() => process.exit(0), (error) => {
  process.stderr.write((error.stack || String(error)) + '\n');
  process.exit(1);
});
