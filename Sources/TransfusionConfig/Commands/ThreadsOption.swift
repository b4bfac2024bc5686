public import ArgumentParser

/// `--threads` of a command that computes in one process.
public struct ThreadsOption: ParsableArguments {
    @Option(
        name: [.customShort("t"), .customLong("threads")],
        help: ArgumentHelp("Threads; by default one for each processor that may be used.", valueName: "threads"))
    public var count: Int?

    public init() {}

    public func validate() throws { try Self.check(count) }

    fileprivate static func check(_ count: Int?) throws {
        if let count, !(1...1024).contains(count) {
            throw ValidationError("--threads must lie between 1 and 1024, not \(count)")
        }
    }
}

/// `--threads` of a command that may run on several ranks.
public struct RankThreadsOption: ParsableArguments {
    @Option(
        name: [.customShort("t"), .customLong("threads")],
        help: ArgumentHelp(
            "Threads of each rank; by default its share of the processors that may be used.", valueName: "threads"))
    public var count: Int?

    public init() {}

    public func validate() throws { try ThreadsOption.check(count) }
}
