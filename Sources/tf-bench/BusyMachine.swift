import Foundation
import TransfusionConfig
import TransfusionTelemetry

/// Says that a measurement is doubtful.
func warnIfBusy(_ othersShare: Double?) {
    guard let othersShare, othersShare > ProcessorUse.quietShare else { return }
    StandardStream.error.write(
        String(
            format: "warning: others used %.0f %% of the processors meanwhile; measure again when they do not\n",
            100 * othersShare))
}

/// What makes a measurement doubtful, for the end of its line; nothing on a quiet machine.
func busyMark(_ othersShare: Double?) -> String {
    guard let othersShare, othersShare > ProcessorUse.quietShare else { return "" }
    return String(format: ", machine busy (%.0f %%)", 100 * othersShare)
}
