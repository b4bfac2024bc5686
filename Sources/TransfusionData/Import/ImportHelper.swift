internal import Foundation
internal import TransfusionSupport

/// A further process of an import: does pieces of the work before the first process comes to them.
final class ImportHelper {
    private let directory: String
    private let sources: ImportSources
    private let exchange: ImportExchange

    /// How long the first process may take to begin.
    private static let patience = Duration.seconds(60)

    /// - Returns: When the import has ended, well or not; the first process tells how.
    /// - Throws: `DataError` when the first process never began, or is gone and has left its work.
    static func run(_ settings: DatasetImport, at place: String) throws(DataError) {
        let place = Paths.withoutTrailingSlash(place)
        let directory = UnfinishedDirectory.continuedPath(of: place)
        let start = ContinuousClock.now
        while !FileLock.isTaken(directory) {
            // It may have begun and ended before.
            if Files.exists(place) { return }
            guard start.duration(to: .now) < patience else {
                throw DataError(place, "the first process of the import has not begun; start all of them together")
            }
            usleep(20_000)
        }
        do throws(DataError) {
            try ImportHelper(settings, in: directory).work()
        } catch {
            // What goes wrong when the first process has taken its directory away is no failure.
            guard Files.isDirectory(directory) else { return }
            throw error
        }
    }

    private init(_ settings: DatasetImport, in directory: String) throws(DataError) {
        self.directory = directory
        // Not where the first process may take the directory away meanwhile.
        let spools = ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp"
        sources = try ImportSources(settings, spools: spools, suffix: "-\(UUID().uuidString)") { _, _, _ in }
        exchange = ImportExchange(directory, fingerprint: sources.beginning.sources)
    }

    /// How far the first process is, once it has the same sources; nil when the import has ended.
    private func state() throws(DataError) -> ImportProgress? {
        while true {
            let state = ImportProgress.read(in: directory)
            if let state, state.sources == sources.beginning.sources, state.options == sources.beginning.options {
                return state
            }
            guard try isAlive() else { return nil }
            usleep(20_000)
        }
    }

    /// Whether the first process is at work.
    private func isAlive() throws(DataError) -> Bool {
        if FileLock.isTaken(directory) { return true }
        guard Files.isDirectory(directory) else { return false }
        throw DataError(directory, "the first process of the import has ended; start it again to go on")
    }

    private func work() throws(DataError) {
        try workOnPictures()
        guard let state = try waitForTexts() else { return }
        try workOnTexts(state)
    }

    private func workOnPictures() throws(DataError) {
        let size = sources.picturesInUnit, count = sources.pictures.count
        while let state = try state(), state.pictures < count, try isAlive() {
            let first = state.pictures / size
            let units = first..<min(first + ImportExchange.window, (count + size - 1) / size)
            var isIdle = true
            for unit in units where !exchange.hasPart(.pictures, unit) {
                guard let claim = try exchange.claim(.pictures, unit) else { continue }
                defer { claim.release() }
                guard let state = try self.state(), (unit + 1) * size > state.pictures,
                    !exchange.hasPart(.pictures, unit)
                else { continue }
                var part = ImportExchange.PicturePart()
                try sources.read(unit * size..<min(count, (unit + 1) * size)) { (planes) throws(DataError) in
                    switch planes {
                    case .success(let planes): part.planes.append(contentsOf: planes)
                    case .failure(let problem): part.problems[part.count] = problem.description
                    }
                    part.count += 1
                }
                try exchange.leave(part, .pictures, unit)
                isIdle = false
                break
            }
            if isIdle { usleep(20_000) }
        }
    }

    /// - Returns: The state with which texts are encoded; nil when the import has ended.
    private func waitForTexts() throws(DataError) -> ImportProgress? {
        while let state = try state() {
            if state.areTextsBegun { return state }
            guard try isAlive() else { return nil }
            usleep(20_000)
        }
        return nil
    }

    private func workOnTexts(_ state: ImportProgress) throws(DataError) {
        let path = sources.settings.tokenizerPath ?? directory + "/" + ImportProgress.tokenizerFile
        let tokenizer = try Tokenizer(path: path)
        let bytes = DatasetWriter.tokenBytes(of: tokenizer)
        sources.texts.resume(isChecked: state.areTextsChecked, emptyTexts: 0)
        var claim: FileLock?
        var part = ImportExchange.TextPart(), batch = 0
        try sources.texts.forEach(
            "", bad: sources.bad, progress: { _, _, _ in },
            given: { (number) throws(DataError) in
                batch = number
                claim = try claimTexts(number)
                return claim == nil ? TextList.Results<[UInt8]>() : nil
            },
            { (text, holdsTokens) throws(DataError) in
                DatasetWriter.stored(holdsTokens ? TextList.ids(text) : try tokenizer.encode(text), bytes: bytes)
            },
            { (tokens, entry) throws(DataError) in
                part.tokens.append(contentsOf: tokens)
                part.entries.append(entry.place)
                part.lengths.append(tokens.count)
            },
            batchDone: { (results) throws(DataError) in
                guard let held = claim else { return }
                part.problems = results.problems.map(\.description)
                part.empty = results.empty
                results.digests.withUnsafeBytes { part.digests = Data($0) }
                try exchange.leave(part, .texts, batch)
                held.release()
                part = ImportExchange.TextPart()
            })
    }

    /// Claims a batch that nobody else makes, and which is not too far ahead.
    private func claimTexts(_ number: Int) throws(DataError) -> FileLock? {
        while let state = try state(), number >= state.batches, try isAlive() {
            guard number < state.batches + ImportExchange.window else {
                usleep(20_000)
                continue
            }
            // Past the bound, nothing would be encoded here.
            guard !sources.bad.isOver, !exchange.hasPart(.texts, number), let claim = try exchange.claim(.texts, number)
            else { return nil }
            guard let now = try self.state(), number >= now.batches, !exchange.hasPart(.texts, number) else {
                claim.release()
                return nil
            }
            return claim
        }
        return nil
    }
}
