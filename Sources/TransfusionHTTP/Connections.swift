internal import HummingbirdCore
package import NIOCore
internal import Synchronization

/// The connections to one address of a server, of which there are only so many.
///
/// A client is a stranger until a request of its has shown a valid token. Strangers have few places, and when those are
/// taken the one that has been there longest makes room, of the address that has most: who wants to fill the server with
/// connections drives out its own. That happens a bounded number of times a second, since whoever is driven out may come
/// back at once, and each connection costs time that belongs to the work; others wait in the queue of the kernel meanwhile.
/// Clients with a token stay, as long as there is room for others beside them.
package final class Connections: Sendable {
    /// How many there may be.
    package struct Bounds: Sendable, Equatable {
        package let strangers: Int
        /// Of one address, that come and go: strangers, and those that are closed after an answer, until they are.
        package let passing: Int
        /// Of all addresses, from programs, that stay open from one request to the next. Others are closed after each answer.
        package let programs: Int
        /// The same for people and what they start.
        package let people: Int
        /// How long a stranger keeps its place while others wait for one.
        package let stay: Duration

        /// - Parameters:
        ///   - all: Of all addresses together.
        ///   - addresses: Each has its own places for those that come and go: whoever fills one leaves the others open.
        package init(all: Int, addresses: Int) {
            passing = max(2, all / 4 / addresses)
            strangers = passing * 3 / 4
            programs = all * 3 / 4
            people = all / 2
            stay = .seconds(Double(strangers) / Double(Self.strangersPerSecond))
        }

        /// That make room for others.
        private static let strangersPerSecond = 64
    }

    /// Places become free at the same moments, many at a time: to wake up for each of them takes more from the work that
    /// shares the processor than to let its successor in.
    private static let roomInterval = Duration.milliseconds(100)
    private let beginning = ContinuousClock.now

    /// The connections of a server that stay open, at all its addresses: which of them most clients ask at is not known before.
    package final class Lasting: Sendable {
        private let count = Atomic(0)

        package init() {}

        fileprivate func take(below bound: Int) -> Bool {
            guard count.wrappingAdd(1, ordering: .relaxed).oldValue >= bound else { return true }
            giveBack()
            return false
        }

        fileprivate func giveBack() { count.wrappingSubtract(1, ordering: .relaxed) }
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
        /// Of this address.
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

    package let bounds: Bounds
    private let lasting: Lasting
    private let state = Mutex(State())

    package init(_ bounds: Bounds, lasting: Lasting) {
        self.bounds = bounds
        self.lasting = lasting
    }

    /// Names the channel that accepts connections.
    package func serve(_ listener: any Channel) {
        state.withLock { $0.listener = listener }
    }

    /// Whether there is a place for another stranger beside those that are connected. When there is none, one will be made.
    fileprivate func hasPlace(beside connected: Int) -> Bool {
        state.withLock { state in
            let isCrowded = state.strangerCount >= bounds.strangers
            if isCrowded { scheduleRoom(&state) }
            state.isFull = isCrowded || connected - state.lastingCount >= bounds.passing
            return !state.isFull
        }
    }

    private func scheduleRoom(_ state: inout State) {
        guard !state.makesRoom, let oldest = state.oldestStranger else { return }
        state.makesRoom = true
        oldest.channel.eventLoop.scheduleTask(in: waitForRoom(of: oldest)) { self.makeRoom() }
    }

    /// When a stranger has had its time.
    private func leave(of stranger: Connection) -> ContinuousClock.Instant { stranger.opened + bounds.stay }

    /// Until the first moment at which a stranger has had its time and places become free.
    private func waitForRoom(of stranger: Connection) -> TimeAmount {
        let now = ContinuousClock.now, end = max(now, leave(of: stranger)) - beginning
        let moment = Self.roomInterval * (end / Self.roomInterval).rounded(.up)
        return TimeAmount(moment - (now - beginning))
    }

    /// Closes the strangers who have had their time.
    private func makeRoom() {
        let victims = state.withLock { state in
            state.makesRoom = false
            var victims: [any Channel] = []
            while let oldest = state.oldestStranger, leave(of: oldest) <= .now,
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
    package func opened(_ channel: any Channel, from peer: String) {
        let victim: (any Channel)? = state.withLock { state -> (any Channel)? in
            let id = ObjectIdentifier(channel)
            guard state.connections[id] == nil else { return nil }
            let victim = state.strangerCount < bounds.strangers ? nil : state.removeOldestStranger()
            state.connections[id] = Connection(channel: channel, peer: peer)
            state.strangers[peer, default: []].append(id)
            state.strangerCount += 1
            return victim
        }
        channel.closeFuture.whenComplete { _ in self.closed(channel) }
        victim?.close(promise: nil)
    }

    /// A request of a connection has shown a valid token.
    /// - Parameter bound: It stays open as long as fewer do.
    package func know(_ channel: any Channel, below bound: Int) {
        state.withLock { state in
            guard var connection = state.connections[ObjectIdentifier(channel)], !connection.isKnown else { return }
            state.removeStranger(connection)
            connection.isKnown = true
            connection.mayStay = lasting.take(below: bound)
            if connection.mayStay { state.lastingCount += 1 }
            state.connections[ObjectIdentifier(channel)] = connection
        }
        acceptWaiting()
    }

    /// Whether a connection may stay open after an answer.
    package func mayStay(_ channel: any Channel) -> Bool {
        state.withLock { $0.connections[ObjectIdentifier(channel)]?.mayStay ?? false }
    }

    package func isKnown(_ channel: any Channel) -> Bool {
        state.withLock { $0.connections[ObjectIdentifier(channel)]?.isKnown ?? false }
    }

    /// A connection has ended. The place of a stranger stays taken for its time, as whoever leaves at once could come back as often.
    private func closed(_ channel: any Channel) {
        let wait: TimeAmount? = state.withLock { state in
            let id = ObjectIdentifier(channel)
            guard let connection = state.connections[id] else { return nil }
            if !connection.isKnown, leave(of: connection) > .now { return waitForRoom(of: connection) }
            state.connections[id] = nil
            if !connection.isKnown {
                state.removeStranger(connection)
            } else if connection.mayStay {
                state.lastingCount -= 1
                lasting.giveBack()
            }
            return nil
        }
        if let wait {
            channel.eventLoop.scheduleTask(in: wait) { self.closed(channel) }
        } else {
            acceptWaiting()
        }
    }
}

/// Lets a server accept connections while there are places for them.
package struct AvailablePlaces: AvailableConnectionsDelegate {
    package let connections: Connections
    /// Those included that are being closed.
    private var count = 0

    package init(_ connections: Connections) {
        self.connections = connections
    }

    package mutating func connectionOpened() { count += 1 }
    package mutating func connectionClosed() { count -= 1 }

    package func isAcceptingNewConnections() -> Bool { connections.hasPlace(beside: count) }
}
