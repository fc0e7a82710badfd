package openwifi

// DrawQR and QRBytes are tested apart from the calls that use them.
var DrawQR = drawQR

const QRBytes = qrBytes
