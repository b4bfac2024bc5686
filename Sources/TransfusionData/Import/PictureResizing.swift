package import TransfusionCore

/// Brings pictures to one size, several at once, and gives them back in the order in which they came.
package struct PictureResizing {
    private let size: Int
    private let fit: Picture.Fit
    private let filter: Picture.Filter
    private let pool: ThreadPool
    private var waiting: [Result<PictureBytes, DataError>] = []
    private var waitingBytes = 0

    /// So much is gathered before the threads begin.
    private static let mostBytes = 64 << 20

    package init(size: Int, fit: Picture.Fit, filter: Picture.Filter, pool: ThreadPool = ThreadPool()) {
        self.size = size
        self.fit = fit
        self.filter = filter
        self.pool = pool
    }

    /// - Parameter store: Gets pictures as `[3, size, size]`, or why one cannot be read.
    package mutating func add(
        _ picture: Result<PictureBytes, DataError>, _ store: (Result<[UInt8], DataError>) throws(DataError) -> Void
    ) throws(DataError) {
        waiting.append(picture)
        if case .success(let picture) = picture { waitingBytes += picture.count }
        if waiting.count >= 16 * pool.threadCount || waitingBytes >= Self.mostBytes { try finish(store) }
    }

    /// Gives what is still waiting.
    package mutating func finish(_ store: (Result<[UInt8], DataError>) throws(DataError) -> Void) throws(DataError) {
        var results = [Result<[UInt8], DataError>?](repeating: nil, count: waiting.count)
        results.withUnsafeMutableBufferPointer { results in
            pool.tasks(waiting.count) { task, _ in results[task] = planes(of: waiting[task]) }
        }
        waiting.removeAll(keepingCapacity: true)
        waitingBytes = 0
        for case .some(let result) in results { try store(result) }
    }

    private func planes(of picture: Result<PictureBytes, DataError>) -> Result<[UInt8], DataError> {
        do throws(DataError) {
            return .success(try picture.get().decode().square(size, fit, filter: filter).planes)
        } catch {
            return .failure(error)
        }
    }
}
