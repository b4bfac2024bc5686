import Foundation
import TransfusionConfig
import TransfusionData

extension RunConfiguration {
    /// Refuses a data set that cannot be opened, or that does not fit, before anything is started: ranks that do not find it
    /// would be launched again, as its file system may come back.
    func requireDataset() throws {
        switch task {
        case .transfusion: _ = try batchSource()
        case .autoencoder: _ = try pictureSource()
        }
    }

    /// What a person wants to know of the batches of the run.
    /// - Throws: What does not fit, and what would.
    func batchSummary() throws -> String {
        switch task {
        case .transfusion: return "\(try MixtureReport(try batchSource(), steps: schedule.steps))"
        case .autoencoder:
            let source = try pictureSource()
            return "\(data.path): \(source.count) pictures, \(batch.globalSequences) of them a step"
        }
    }

    /// The pictures of a run that trains an autoencoder.
    /// - Throws: What does not fit, and what would.
    func pictureSource() throws -> PictureStream {
        try PictureStream(self, dataset: try openData().datasets[0])
    }

    /// The batches of the run.
    /// - Throws: What does not fit, and what would.
    func batchSource() throws -> BatchSource {
        try BatchSource(self, data: try openData())
    }

    private func openData() throws -> DataMixture {
        do {
            return try DataMixture(data)
        } catch {
            let key = data.pathsKey + ": "
            throw CommandFailure(error.isWrongUse ? "\(error)" : "\(key)\(error)", .wrongUse)
        }
    }

    /// Those of the data sets at whose place nothing lies: a configuration may be checked and planned without them.
    var missingDatasets: [String] { data.paths.filter { !FileManager.default.fileExists(atPath: $0) } }
}
