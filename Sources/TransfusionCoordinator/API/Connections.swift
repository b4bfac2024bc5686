internal import HummingbirdCore
internal import NIOCore
internal import Synchronization

/// The connections to one address of a server, of which there are only so many.
///
/// A client is a stranger until a request of its has shown a valid token. Strangers have few places, and when those are
/// taken the one that has been there longest makes room, of the address that has most: who wants to fill the server with
/// connections drives out its own. That happens a bounded number of times a second, since whoever is driven out may come
/// back at once, and each connection costs time that belongs to the run; others wait in the queue of the kernel meanwhile.
/// Clients with a token stay, as long as there is room for others beside them.
final class Connections: Sendable {
    /// How many there may be.
    struct Bounds: Sendable, Equatable {
        /// Those that are being closed included.
        let all: Int
        let strangers: Int
        /// Connections of ranks that stay open from one heartbeat to the next. Others are closed after each answer.
        let ranks: Int
        /// The same for commands and viewers.
        let viewers: Int
        /// How long a stranger keeps its place while others wait for one.
        let stay: Duration

        /// - Parameter all: A part of it is for connections that come and go.
        init(all: Int) {
            self.all = all
            strangers = max(1, all * 3 / 16)
            ranks = all * 3 / 4
            viewers = all / 2
            stay = .seconds(Double(strangers) / Double(Self.strangersPerSecond))
        }

        /// That make room for others.
        private static let strangersPerSecond = 256
    }

    private struct Connection {
        let channel: any Channel
        let peer: String
        let opened = ContinuousClock.now
        var isKnown = false
        /// Whether it may stay open after an answer.
        var mayStay = true
    }

    private struct State {
        var connections: [ObjectIdentifier: Connection] = [:]
        /// The strangers of each address, oldest first.
        var strangers: [String: [ObjectIdentifier]] = [:]
        var strangerCount = 0
        var lastingCount = 0
        /// Where clients wait to be accepted.
        var listener: (any Channel)?
        /// Whether some may wait there because there is no place.
        var isFull = false
        var makesRoom = false

        /// The stranger that came first, of the address that has most.
        var oldestStranger: Connection? {
            strangers.max { $0.value.count < $1.value.count }?.value.first.flatMap { connections[$0] }
        }

        mutating func removeOldestStranger() -> (any Channel)? {
            guard let connection = oldestStranger else { return nil }
            connections[ObjectIdentifier(connection.channel)] = nil
            removeStranger(connection)
            return connection.channel
        }

        mutating func removeStranger(_ connection: Connection) {
            let id = ObjectIdentifier(connection.channel)
            guard let index = strangers[connection.peer]?.firstIndex(of: id) else { return }
            strangers[connection.peer]?.remove(at: index)
            if strangers[connection.peer]?.isEmpty == true { strangers[connection.peer] = nil }
            strangerCount -= 1
        }
    }

    let bounds: Bounds
    private let state = Mutex(State())

    init(_ bounds: Bounds) {
        self.bounds = bounds
    }

    /// Names the channel that accepts connections.
    func serve(_ listener: any Channel) {
        state.withLock { $0.listener = listener }
    }

    /// Whether there is a place for another stranger. When there is none, one will be made.
    func hasPlace() -> Bool {
        state.withLock { state in
            state.isFull = state.strangerCount >= bounds.strangers
            if state.isFull { scheduleRoom(&state) }
            return !state.isFull
        }
    }

    private func scheduleRoom(_ state: inout State) {
        guard !state.makesRoom, let oldest = state.oldestStranger else { return }
        state.makesRoom = true
        let wait = max(.zero, oldest.opened + bounds.stay - .now)
        oldest.channel.eventLoop.scheduleTask(in: TimeAmount(wait)) { self.makeRoom() }
    }

    /// Closes the strangers who have had their time.
    private func makeRoom() {
        let victims = state.withLock { state in
            state.makesRoom = false
            var victims: [any Channel] = []
            while let oldest = state.oldestStranger, oldest.opened + bounds.stay <= .now,
                let victim = state.removeOldestStranger()
            {
                victims.append(victim)
            }
            if victims.isEmpty, state.isFull { scheduleRoom(&state) }
            return victims
        }
        for victim in victims { victim.close(promise: nil) }
        acceptWaiting()
    }

    /// Lets those in who wait, when there is a place again.
    private func acceptWaiting() {
        let listener: (any Channel)? = state.withLock { state in
            guard state.isFull, state.strangerCount < bounds.strangers else { return nil }
            state.isFull = false
            return state.listener
        }
        listener?.read()
    }

    /// Takes note of a connection, which may cost a stranger its place.
    func opened(_ channel: any Channel, from peer: String) {
        let victim: (any Channel)? = state.withLock { state -> (any Channel)? in
            let id = ObjectIdentifier(channel)
            guard state.connections[id] == nil else { return nil }
            let victim = state.strangerCount < bounds.strangers ? nil : state.removeOldestStranger()
            state.connections[id] = Connection(channel: channel, peer: peer)
            state.strangers[peer, default: []].append(id)
            state.strangerCount += 1
            return victim
        }
        channel.closeFuture.whenComplete { _ in self.closed(ObjectIdentifier(channel)) }
        victim?.close(promise: nil)
    }

    /// A request of a connection has shown a valid token.
    func know(_ channel: any Channel, as access: Access) {
        state.withLock { state in
            guard var connection = state.connections[ObjectIdentifier(channel)], !connection.isKnown else { return }
            state.removeStranger(connection)
            connection.isKnown = true
            let bound = if case .worker = access { bounds.ranks } else { bounds.viewers }
            connection.mayStay = state.lastingCount < bound
            if connection.mayStay { state.lastingCount += 1 }
            state.connections[ObjectIdentifier(channel)] = connection
        }
        acceptWaiting()
    }

    /// Whether a connection may stay open after an answer.
    func mayStay(_ channel: any Channel) -> Bool {
        state.withLock { $0.connections[ObjectIdentifier(channel)]?.mayStay ?? false }
    }

    func isKnown(_ channel: any Channel) -> Bool {
        state.withLock { $0.connections[ObjectIdentifier(channel)]?.isKnown ?? false }
    }

    private func closed(_ id: ObjectIdentifier) {
        state.withLock { state in
            guard let connection = state.connections.removeValue(forKey: id) else { return }
            if !connection.isKnown {
                state.removeStranger(connection)
            } else if connection.mayStay {
                state.lastingCount -= 1
            }
        }
        acceptWaiting()
    }
}

/// Lets a server accept connections while there are places for them.
struct AvailablePlaces: AvailableConnectionsDelegate {
    let connections: Connections
    /// Those included that are being closed.
    private var count = 0

    init(_ connections: Connections) {
        self.connections = connections
    }

    mutating func connectionOpened() { count += 1 }
    mutating func connectionClosed() { count -= 1 }

    func isAcceptingNewConnections() -> Bool { count < connections.bounds.all && connections.hasPlace() }
}
