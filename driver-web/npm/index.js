// The package's surface. Importing it does nothing and touches nothing of a browser.

export { connect, Network } from './src/network.js'
export { Room } from './src/room.js'
export { UnamedError } from './src/errors.js'
