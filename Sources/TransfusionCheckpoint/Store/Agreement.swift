internal import FoundationEssentials
internal import TransfusionCore

// Decisions that all ranks share: what one does or fails to do reaches all, and nobody waits for a rank that gave up.
extension CheckpointStore {
    /// Runs `body` on rank 0; all ranks get its result, or its error.
    func broadcast<Value: Codable>(_ collectives: any Collectives, _ body: () throws -> Value) throws -> Value {
        var outcome: Outcome<Value>?
        if collectives.rank == 0 { outcome = Outcome(body) }
        if collectives.size == 1, let outcome { return try outcome.get(directory) }
        outcome?.name(rank: 0)
        let message = try outcome.map { Array(try JSONEncoder().encode($0)) } ?? []
        let bytes = try collectives.broadcast(message, root: 0, site: "checkpoint.agree")
        return try JSONDecoder().decode(Outcome<Value>.self, from: Data(bytes)).get(directory)
    }

    /// Runs `body` on rank 0; all ranks get its error.
    func agree(_ collectives: any Collectives, _ body: () throws -> Void) throws {
        _ = try broadcast(collectives) {
            try body()
            return true
        }
    }

    /// Runs `body` on every rank, and gives rank 0 the results in rank order; the first error reaches all ranks.
    func gather<Value: Codable>(
        _ collectives: any Collectives, _ body: () throws -> Value
    ) throws -> Result<[Value], CheckpointError> {
        var mine = Outcome(body)
        if collectives.size > 1 { mine.name(rank: collectives.rank) }
        let messages = try collectives.gather(
            Array(try JSONEncoder().encode(mine)), root: 0, site: "checkpoint.gather")
        return Result {
            try messages.map { try JSONDecoder().decode(Outcome<Value>.self, from: Data($0)).get(directory) }
        }.mapError { $0 as? CheckpointError ?? CheckpointError(directory, "\($0)") }
    }
}

private struct Outcome<Value: Codable>: Codable {
    // An array, because a JSON null could be a missing value as well as a value that is nil.
    var values: [Value] = []
    var path: String?
    var problem: String?
    var rank: Int?

    init(_ body: () throws -> Value) {
        do {
            values = [try body()]
        } catch let error as CheckpointError {
            path = error.path
            problem = error.problem
            rank = error.rank
        } catch let error as FileSystemError {
            path = error.path
            problem = "cannot \(error.operation): \(error.reason)"
        } catch {
            problem = "\(error)"
        }
    }

    /// Says which rank has failed, unless it passes on the failure of another.
    mutating func name(rank: Int) {
        if problem != nil, self.rank == nil { self.rank = rank }
    }

    func get(_ directory: String) throws -> Value {
        if let problem { throw CheckpointError(path ?? directory, problem, rank: rank) }
        guard let value = values.first else { throw CheckpointError(directory, "a rank sent no answer") }
        return value
    }
}
