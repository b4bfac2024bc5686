import Foundation
import TransfusionConfig
import TransfusionData

extension RunConfiguration {
    /// Refuses a data set that cannot be opened, or that does not fit, before anything is started: ranks that do not find it
    /// would be launched again, as its file system may come back.
    func requireDataset() throws {
        _ = try batchShares()
    }

    /// What the batches of the run will hold on average.
    /// - Throws: What does not fit, and what would.
    func batchShares() throws -> BatchShares {
        let dataset: PackedDataset
        do {
            dataset = try PackedDataset(data.path)
        } catch {
            throw CommandFailure("data.path: \(error)", .wrongUse)
        }
        return try BatchSource(self, dataset: dataset).shares
    }

    /// Whether something lies where the data set is to be: a configuration may be checked and planned without it.
    var hasDataset: Bool { FileManager.default.fileExists(atPath: data.path) }
}
