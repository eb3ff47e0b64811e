// An aedes broker on a port of 127.0.0.1, with aedes's own defaults: node broker.mjs --port 1883 [--stats]
import { createServer } from 'node:net'
import { parseArgs } from 'node:util'
import { Aedes } from 'aedes'
import stats from 'aedes-stats'

const { values } = parseArgs({ options: { port: { type: 'string' }, stats: { type: 'boolean' } } })
const broker = await Aedes.createBroker()
if (values.stats) stats(broker)
for (const event of ['clientError', 'connectionError']) {
  broker.on(event, (client, err) => console.log(`${event}: ${client.id}: ${err.message}`))
}
broker.on('client', (client) => console.log(`client: ${client.id}`))
broker.on('clientDisconnect', (client) => console.log(`clientDisconnect: ${client.id}`))

const server = createServer(broker.handle)
server.listen(Number(values.port), '127.0.0.1', () => console.log(`aedes ${broker.version} (${broker.id}) listens`))
process.on('SIGTERM', () => {
  server.close()
  broker.close(() => process.exit())
})
