internal import NIOCore
internal import Synchronization

/// The connections to one address of a server, of which there are only so many.
///
/// A client is a stranger until a request of its has shown a valid token. Strangers have few places, and when those are
/// taken the one that has been there longest makes room, of the address that has most: who wants to fill the server with
/// connections drives out its own. Clients with a token stay, as long as there is room for others beside them.
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

        /// - Parameter all: A part of it is for connections that come and go.
        init(all: Int) {
            self.all = all
            strangers = max(1, all * 3 / 16)
            ranks = all * 3 / 4
            viewers = all / 2
        }
    }

    private struct Connection {
        let channel: any Channel
        let peer: String
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

        /// Removes the stranger that came first, of the address that has most.
        mutating func removeOldestStranger() -> (any Channel)? {
            guard let peer = strangers.max(by: { $0.value.count < $1.value.count })?.key,
                let oldest = strangers[peer]?.first, let connection = connections.removeValue(forKey: oldest)
            else { return nil }
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
    }
}
