import Foundation
import TransfusionConfig
import TransfusionData

extension RunConfiguration {
    /// Refuses a data set that cannot be opened, or that does not fit, before anything is started: ranks that do not find it
    /// would be launched again, as its file system may come back.
    func requireDataset() throws {
        switch task {
        case .transfusion: _ = try batchShares()
        case .autoencoder: _ = try pictureSource()
        }
    }

    /// What a person wants to know of the batches of the run.
    /// - Throws: What does not fit, and what would.
    func batchSummary() throws -> String {
        switch task {
        case .transfusion: return "\(try batchShares())"
        case .autoencoder:
            let source = try pictureSource()
            return "\(source.count) pictures, \(batch.globalSequences) of them a step"
        }
    }

    private func pictureSource() throws -> PictureStream { try PictureStream(self, dataset: try openDataset()) }

    /// What the batches of the run will hold on average.
    /// - Throws: What does not fit, and what would.
    func batchShares() throws -> BatchShares {
        try BatchSource(self, dataset: try openDataset()).shares
    }

    private func openDataset() throws -> PackedDataset {
        do {
            return try PackedDataset(data.path)
        } catch {
            throw CommandFailure("data.path: \(error)", .wrongUse)
        }
    }

    /// Whether something lies where the data set is to be: a configuration may be checked and planned without it.
    var hasDataset: Bool { FileManager.default.fileExists(atPath: data.path) }
}
